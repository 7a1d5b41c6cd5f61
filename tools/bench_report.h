/* How `hearth bench` shows what it measured: tables for people, JSON and CSV for programs. */
#ifndef HEARTH_TOOLS_BENCH_REPORT_H
#define HEARTH_TOOLS_BENCH_REPORT_H

#include "bench_model.h"
#include "options.h"
#include "output.h"

/* Rows as JSON objects, with the field names of llama-bench where it has one. */
json_t *bench_model_rows(const struct options *options, const hearth_engine *engine, const struct hearth_bench_result *result);
/* Print rows as JSON or CSV and free them; returns the exit code. */
int bench_print_rows(json_t *rows, enum options_format format);
int bench_print_model_table(const struct options *options, const hearth_engine *engine, const struct hearth_bench_result *result);

/* "pp512", "pp512 @ d4096", "tg16". */
#define BENCH_TEST_NAME_MAX 48
const char *bench_test_name(char out[BENCH_TEST_NAME_MAX], uint32_t n_prompt, uint32_t n_gen, uint32_t depth);

#endif
