/* cli: the commands beside the server, in the style of promtool: check config, query instant, query range, help.
 *
 * argv as main's: argv[0] is the program's name, then the command's words and flags. Output and exit codes are
 * promtool's: 0 ok, 1 failure, 3 lint findings; 2 for wrong usage. */
#ifndef CLI_H
#define CLI_H

int cli_main(int argc, char **argv);

#endif
