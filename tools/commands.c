/* The table of commands, which the program and its manual walk. */
#include "commands.h"

const struct command commands[] = {
    {"run", cmd_run, &command_run, "generate text"},
    {"chat", cmd_chat, &command_chat, "talk with a model"},
    {"models", cmd_models, &command_models, "the models there are, and whether they fit"},
    {"list", cmd_models, &command_models, NULL},
    {"plan", cmd_plan, &command_plan, "the memory a model will take, line by line"},
    {"info", cmd_info, &command_info, "what a model file holds, and what this machine does with it"},
    {"check", cmd_check, &command_check, "whether a model file is sound, and what it would need"},
    {"doctor", cmd_doctor, &command_doctor, "check this machine, and say what to change"},
    {"tokenize", cmd_tokenize, &command_tokenize, "text to token ids, or back"},
    {"template", cmd_template, &command_template, "the text that a chat template makes of messages"},
    {"logits", cmd_logits, &command_logits, "the numbers a model gives for tokens"},
    {"selftest", cmd_selftest, &command_selftest, "check every kernel against the reference on this CPU"},
    {"bench", cmd_bench, &command_bench, "measure this machine"},
    {"perplexity", cmd_perplexity, &command_perplexity, "how well a model predicts a text"},
    {"quantize", cmd_quantize, &command_quantize, "a model of float weights to a smaller file"},
};
const size_t command_count = sizeof commands / sizeof commands[0];
