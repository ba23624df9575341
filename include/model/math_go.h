/* math_go: elementary functions to the last bit as Prometheus has them, which computes them with Go's package math on
 * amd64. The C library's are mostly nearer to the truth, and so differ in the last digit now and then. */
#ifndef MODEL_MATH_GO_H
#define MODEL_MATH_GO_H

double go_exp(double x);
double go_exp2(double x);
double go_log(double x);
double go_log2(double x);
double go_log10(double x);
double go_log1p(double x);
double go_pow(double x, double y);

double go_sin(double x);
double go_cos(double x);
double go_tan(double x);
double go_asin(double x);
double go_acos(double x);
double go_atan(double x);
double go_atan2(double y, double x);
double go_sinh(double x);
double go_cosh(double x);
double go_tanh(double x);
double go_asinh(double x);
double go_acosh(double x);
double go_atanh(double x);

#endif
