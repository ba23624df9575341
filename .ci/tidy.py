#!/usr/bin/env python3
"""Keeps the architecture visible: fails on what breaks it, prints what a person should judge.

Fails (file:line: reason, exit 1):
  - an #include of another module's header that the module's DEPENDS in CMakeLists.txt do not reach
  - a private header of another folder
  - a third-party header outside its fence
  - a banned call, a leftover note to fix or do something, a path of somebody's machine
Prints: counts, the longest files and functions, the deepest levels.
"""
import os
import re
import sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), ".."))

# header pattern -> where it may be included. A place is a file or, with a slash at its end, a folder.
RIM = ["src/net/", "scrape/", "src/discovery/", "src/remote/", "src/rules/", "src/kube/", "src/redis/", "src/api/", "src/cli/",
       "src/main.c", "src/server", "tests/", "bench/"]
FENCES = [
    (r"uv\.h", RIM + ["src/*.c", "src/*.h", "include/net/"]),
    (r"llhttp\.h", ["src/net/http_"]),
    (r"lmdb\.h", ["storage/kv"]),
    (r"curl/.*", ["src/net/http_client", "src/net/http_fetch"]),
    (r"openssl/.*", ["src/base/hash.c", "src/net/tls"]),
    (r"re2/.*", ["src/base/shim.cc"]),
    (r"charconv", ["src/base/shim.cc"]),
    (r"yaml\.h", ["src/config/yaml.c"]),
    (r"jansson\.h", ["src/base/json.c"]),
    (r"zlib\.h", ["src/base/compress.c"]),
    (r"snappy(-c)?\.h", ["src/base/compress.c"]),
    (r"xxhash\.h", ["src/base/hash.c"]),
    (r"ares.*\.h", ["src/net/dns.c"]),
    (r"crypt\.h", ["src/net/password.c"]),
    (r"hiredis/.*", ["src/redis/"]),
    (r"cmocka\.h", ["tests/"]),
]

# <...> headers that belong to the C and POSIX world; a third-party header that no fence names is refused.
SYSTEM = set("""
arpa/inet.h assert.h cpuid.h ctype.h dirent.h dlfcn.h endian.h errno.h execinfo.h fcntl.h fenv.h float.h fnmatch.h ftw.h
getopt.h glob.h grp.h ifaddrs.h immintrin.h inttypes.h langinfo.h libgen.h limits.h linux/fs.h linux/ioprio.h
linux/magic.h locale.h malloc.h math.h net/if.h netdb.h netinet/in.h netinet/ip.h netinet/tcp.h nmmintrin.h poll.h
pthread.h pwd.h regex.h sched.h semaphore.h setjmp.h signal.h stdalign.h stdarg.h stdatomic.h stdbool.h stddef.h
stdint.h stdio.h stdlib.h stdnoreturn.h string.h strings.h sys/epoll.h sys/eventfd.h sys/file.h sys/inotify.h sys/ioctl.h
sys/mman.h sys/prctl.h sys/random.h sys/resource.h sys/select.h sys/sendfile.h sys/socket.h sys/stat.h sys/statfs.h sys/sysmacros.h
sys/statvfs.h sys/syscall.h sys/time.h sys/times.h sys/types.h sys/uio.h sys/un.h sys/utsname.h sys/vfs.h sys/wait.h
sysexits.h termios.h tgmath.h time.h ucontext.h unistd.h utime.h wchar.h x86intrin.h
sanitizer/asan_interface.h sanitizer/lsan_interface.h sanitizer/tsan_interface.h
algorithm array cmath cstddef cstdint cstdio cstdlib cstring limits memory mutex new optional string
string_view system_error utility vector
""".split())

BANNED = ["strcpy", "strcat", "sprintf", "vsprintf", "strtok", "atoi", "atol", "gets", "strncpy"]
BANNED_CALL = re.compile(r"(?<![\w.>])(" + "|".join(BANNED) + r")\s*\(")
LEFTOVER = re.compile(r"\b(" + "FIX" + "ME|TO" + r"DO)\b")
MACHINE = re.compile(r"(?<![\w.~$}])/(" + "wo" + r"rk|ho" + r"me|ro" + r"ot)/[A-Za-z0-9_.-]+")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')

FUNCTION_LINES = 70
FILE_LINES = 600
LEVELS = 4
SHOWN = 12

TEXT_ENDINGS = (".c", ".h", ".cc", ".def", ".py", ".sh", ".txt", ".md", ".yml", ".yaml", ".json", ".cmake", ".ts",
                ".tsx", ".js", ".css", ".html", ".test")
CODE_ENDINGS = (".c", ".h", ".cc", ".def")
OUR_FOLDERS = ["include", "src", "storage", "scrape", "query", "tests", "bench"]
OTHER_FOLDERS = ["docs", "deploy", "web", ".ci"]
SKIPPED_FOLDERS = {"node_modules", "dist", "__pycache__", "corpus", "golden"}


def read_modules(problems):
    """CMakeLists.txt -> {name: (folder, set of direct depends)}"""
    with open(os.path.join(ROOT, "CMakeLists.txt"), encoding="utf-8") as f:
        text = re.sub(r"#[^\n]*", "", f.read())
    modules = {}
    for call in re.findall(r"^add_module\(([^)]*)\)", text, re.M):
        words = call.split()
        name, folder, depends, key = words[0], "src/" + words[0], set(), None
        for word in words[1:]:
            if word in ("DIR", "DEPENDS", "LIBRARIES"):
                key = word
            elif key == "DIR":
                folder = word
            elif key == "DEPENDS":
                depends.add(word)
        modules[name] = (folder, depends)
    for name, (_, depends) in modules.items():
        for other in depends - set(modules):
            problems.append(f"CMakeLists.txt:1: module {name} depends on {other}, which is no module")
    return modules


def reach(modules, name, seen=None):
    seen = set() if seen is None else seen
    for other in modules[name][1]:
        if other in modules and other not in seen:
            seen.add(other)
            reach(modules, other, seen)
    return seen


def walk(folder):
    for path, folders, names in os.walk(os.path.join(ROOT, folder)):
        folders[:] = sorted(f for f in folders if f not in SKIPPED_FOLDERS)
        for name in sorted(names):
            yield os.path.relpath(os.path.join(path, name), ROOT)


def may_stand(path, places):
    for place in places:
        if "*" in place:
            folder, _, ending = place.partition("*")
            rest = path[len(folder):]
            if path.startswith(folder) and "/" not in rest and rest.endswith(ending):
                return True
        elif path.startswith(place):
            return True
    return False


def owner_of_header(header, modules):
    """The module of a header under include/, or None when there is no such header."""
    if not os.path.exists(os.path.join(ROOT, "include", header)):
        return None
    first = header.split("/")[0]
    return first if "/" in header else os.path.splitext(first)[0]


def module_of_file(path, modules):
    """(module, everything that it may include) of a source file; None for the wiring and the tests' own files."""
    if path.startswith("include/"):
        name = owner_of_header(path[len("include/"):], modules)
    else:
        name = next((n for n, (folder, _) in modules.items() if path.startswith(folder + "/")), None)
        parts = path.split("/")
        if name is None and path.startswith("tests/unit/") and len(parts) > 3:
            name = parts[2]
    if name not in modules:
        return None
    return name, reach(modules, name) | {name}


def check_include(path, number, bracket, header, modules, problems):
    def problem(text):
        problems.append(f"{path}:{number}: {text}")

    for pattern, places in FENCES:
        if re.fullmatch(pattern, header):
            if not may_stand(path, places):
                problem(f"<{header}> is outside its fence ({', '.join(places)})")
            return
    if bracket == "<":
        if header not in SYSTEM:
            problem(f"<{header}> is no system header that .ci/tidy.py knows and has no fence")
        return
    here = module_of_file(path, modules)
    folder = os.path.dirname(path)
    if os.path.exists(os.path.join(ROOT, folder, header)) and not header.startswith(".."):
        return
    owner = owner_of_header(header, modules)
    if owner is not None:
        if here is not None and owner not in here[1]:
            problem(f"module {here[0]} includes \"{header}\" of {owner}, which its DEPENDS do not reach")
        return
    if path.startswith(("tests/", "bench/")):
        if os.path.exists(os.path.join(ROOT, "tests/lib", header)):
            return
        if path.startswith("tests/unit/"):
            allowed = [modules[here[0]][0]] if here else []
        else:
            allowed = [m[0] for m in modules.values()]
        if any(os.path.exists(os.path.join(ROOT, f, header)) for f in allowed):
            return
        problem(f"\"{header}\" is no header of this module, of include/ or of tests/lib")
        return
    problem(f"\"{header}\" is neither in include/ nor in {folder}/: private headers stay in their folder")


def strip_comments(text):
    """Comments and strings become blanks; lines stay where they are."""
    def blank(match):
        return re.sub(r"[^\n]", " ", match.group(0))

    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text, flags=re.S)


def check_code(path, text, modules, problems, report):
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        match = INCLUDE.match(line)
        if match:
            check_include(path, number, match.group(1), match.group(2), modules, problems)
    bare = strip_comments(text).split("\n")
    start, depth, levels, head = None, 0, 0, ""
    for number, line in enumerate(bare, 1):
        match = BANNED_CALL.search(line)
        if match:
            problems.append(f"{path}:{number}: {match.group(1)} is banned")
        if line.startswith("{") and path.endswith((".c", ".cc")):
            start, head, depth, levels = number, function_name(bare, number), 0, 0
        if start is not None:
            for char in line:
                depth += {"{": 1, "}": -1}.get(char, 0)
                levels = max(levels, depth)
            if depth <= 0 and "}" in line:
                report["functions"].append((number - start + 1, path, start, head))
                report["levels"].append((levels - 1, path, start, head))
                start = None
    report["files"].append((len(lines) - 1, path))


def function_name(lines, number):
    for back in range(number - 2, max(0, number - 8), -1):
        match = re.search(r"(\w+)\s*\(", lines[back])
        if match and not lines[back].startswith((" ", "\t")):
            return match.group(1)
    return "?"


def check_text(path, text, problems):
    for number, line in enumerate(text.split("\n"), 1):
        if LEFTOVER.search(line):
            problems.append(f"{path}:{number}: {LEFTOVER.search(line).group(0)} may not land")
        if MACHINE.search(line):
            problems.append(f"{path}:{number}: path of a machine: {MACHINE.search(line).group(0)}")


def print_report(report, problems):
    files, functions = report["files"], report["functions"]
    product = [f for f in files if not f[1].startswith(("tests/", "bench/"))]
    tests = [f for f in files if f[1].startswith(("tests/", "bench/"))]
    print(f"product: {len(product)} files, {sum(f[0] for f in product)} lines; "
          f"tests and benches: {len(tests)} files, {sum(f[0] for f in tests)} lines; {len(functions)} functions")
    long_files = sorted((f for f in files if f[0] > FILE_LINES), reverse=True)
    print(f"files over {FILE_LINES} lines: {len(long_files)}")
    for lines, path in long_files[:SHOWN]:
        print(f"  {lines:5} {path}")
    long_functions = sorted((f for f in functions if f[0] > FUNCTION_LINES), reverse=True)
    print(f"functions over {FUNCTION_LINES} lines: {len(long_functions)}")
    for lines, path, start, name in long_functions[:SHOWN]:
        print(f"  {lines:5} {path}:{start} {name}")
    deep = sorted((f for f in report["levels"] if f[0] > LEVELS), reverse=True)
    print(f"functions nested deeper than {LEVELS} levels: {len(deep)}")
    for levels, path, start, name in deep[:SHOWN]:
        print(f"  {levels:5} {path}:{start} {name}")
    for problem in problems:
        print(problem)
    print(f"tidy: {len(problems)} problems" if problems else "tidy: ok")


def main():
    problems = []
    report = {"files": [], "functions": [], "levels": []}
    modules = read_modules(problems)
    paths = [p for folder in OUR_FOLDERS + OTHER_FOLDERS for p in walk(folder)]
    paths += [n for n in sorted(os.listdir(ROOT)) if os.path.isfile(os.path.join(ROOT, n))]
    for path in paths:
        name = os.path.basename(path)
        if not (path.endswith(TEXT_ENDINGS) or "." not in name):
            continue
        with open(os.path.join(ROOT, path), encoding="utf-8", errors="replace") as f:
            text = f.read()
        check_text(path, text, problems)
        if path.endswith(CODE_ENDINGS) and path.split("/")[0] in OUR_FOLDERS:
            check_code(path, text, modules, problems, report)
    print_report(report, problems)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
