/* One line a reason, with the names that it answers. Names are those that users of llama.cpp type; one that gets a meaning here
 * leaves this table. */
#include "refused.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

static const struct {
    const char *names; /* each with a space before and behind */
    const char *reason;
} reasons[] = {
    {" -ngl --gpu-layers --n-gpu-layers -sm --split-mode -ts --tensor-split -mg --main-gpu -dev --device --list-devices -nkvo"
     " --no-kv-offload -ot --override-tensor -cmoe --cpu-moe -ncmoe --n-cpu-moe ",
     "there is no GPU to give layers to: all of them are computed on the processor; leave it out"},
    {" --no-mmap ", "weights always get memory of their own, and are mapped only with --pack-cache; leave it out"},
    {" --mmap ", "the model's file is never mapped; --pack-cache DIR keeps weights in a form that is"},
    {" --mlock ", "memory is not locked, but all of it is taken before the first token; leave it out"},
    {" -fa --flash-attn ", "attention is always computed in blocks; leave it out"},
    {" -ctk --cache-type-k -ctv --cache-type-v ", "keys and values have one type; use --kv f16, f32 or q8_0"},
    {" -ub --ubatch-size ", "there is one size of batch; use -b"},
    {" -tb --threads-batch ", "one number of threads serves for all; use -t"},
    {" --numa -C --cpu-mask -Cr --cpu-range --cpu-strict --prio --poll ",
     "workers sit on cores of their own already; limit them with -t or taskset"},
    {" --no-warmup --warmup ", "nothing is warmed up; leave it out"},
    {" -e --escape ", "\\n and the like are processed anyway; leave it out, or turn it off with --no-escape"},
    {" --no-display-prompt ", "the prompt is never shown; leave it out"},
    {" -sp ", "use --keep-special"},
    {" -cnv --conversation -no-cnv --no-conversation -i --interactive -if --interactive-first -mli --multiline-input -st"
     " --single-turn ",
     "this command continues one prompt and ends; leave it out, or use hearth chat"},
    {" -sys --system-prompt -sysf --system-prompt-file ",
     "use --chat --system TEXT"},
    {" --in-prefix --in-suffix --in-prefix-bos ", "there is no input after the prompt; for filling in use --prefix-file"},
    {" --spm-infill ", "the prefix always comes first, as the specification of these prompts has it"},
    {" -hf --hf-repo -hff --hf-file -mu --model-url -hft --hf-token -dr --docker-repo ",
     "this program never uses the network; fetch the file and give it with -m"},
    {" --lora --lora-scaled --control-vector --control-vector-scaled ", "adapters are not supported; merge them into the model"},
    {" -mm --mmproj --image --audio ", "only text is supported"},
    {" -md --model-draft --draft --draft-max --draft-min ", "there is no drafting model"},
    {" --rope-scaling --rope-scale --rope-freq-base --rope-freq-scale --yarn-orig-ctx --yarn-ext-factor --yarn-attn-factor"
     " --yarn-beta-slow --yarn-beta-fast -gan --grp-attn-n -gaw --grp-attn-w ",
     "the model's file says how positions are computed; leave it out"},
    {" --override-kv ", "the model's file is taken as it is"},
    {" --keep --context-shift --no-context-shift ", "a full context ends the answer, nothing is dropped from it; leave it out"},
    {" --log-disable --no-perf --simple-io -v --verbose --verbose-prompt --log-file --color -co ",
     "what is said beside the text goes to standard error, and -q silences it; leave it out"},
};

const char *refused_reason(const char *argument)
{
    const size_t n = strcspn(argument, "=");
    for (size_t i = 0; n > 1 && argument[0] == '-' && i < sizeof reasons / sizeof reasons[0]; i++)
        for (const char *at = reasons[i].names; (at = strstr(at, " -")) != NULL; at++)
            if (strncmp(at + 1, argument, n) == 0 && at[1 + n] == ' ')
                return reasons[i].reason;
    return NULL;
}
