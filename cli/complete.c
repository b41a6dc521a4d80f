/* See complete.h. The scripts hold all words; no shell has to ask the program while one types. What
 * an option takes is told by opt.complete: "file", "dir", "@faults", or words. */
#include "cli/complete.h"

#include <string.h>

#include "chaoslib/chaos.h"
#include "cli/verbs.h"

/* Words that may follow a verb instead of an option; "file" for plans and results. */
static const struct {
    const char *verb, *words;
} positional[] = {
    { "run", "file" },
    { "validate", "file" },
    { "explain", "file" },
    { "report", "file" },
    { "completion", "bash zsh fish" },
    { "man", "1 5" },
    { "recover", "file" },
    { "init", "file" },
};

static const char *positional_of(const char *verb)
{
    for (size_t i = 0; i < ARRAY_LEN(positional); i++)
        if (strcmp(positional[i].verb, verb) == 0)
            return positional[i].words;
    return "";
}

/* "kill\ process=" for each kind, so that the target comes next. */
static void fault_words(struct buf *out)
{
    for (const struct fault_kind *const *k = fault_catalog; *k; k++)
        buf_addf(out, "%s%s\\ %s=", k == fault_catalog ? "" : " ", (*k)->name, (*k)->backend);
}

/* In single quotes for any shell; help texts hold no backslash. */
static void put_quoted(struct buf *out, const char *s)
{
    buf_addc(out, '\'');
    for (; *s; s++)
        if (*s == '\'')
            buf_adds(out, "'\\''");
        else
            buf_addc(out, *s);
    buf_addc(out, '\'');
}

static bool is_word_list(const char *complete)
{
    return complete && strcmp(complete, "file") != 0 && strcmp(complete, "dir") != 0 &&
           complete[0] != '@';
}

/* ---- bash ---- */

static void bash_option_words(const struct verb *v, struct buf *out)
{
    for (const struct opt *o = v->opts; o && o->name; o++)
        buf_addf(out, "--%s ", o->name);
    buf_adds(out, "--help");
}

static void bash_value_case(const struct verb *v, const struct opt *o, struct buf *out)
{
    buf_addf(out, "    %s:--%s", v->name, o->name);
    if (o->letter)
        buf_addf(out, "|%s:-%c", v->name, o->letter);
    buf_adds(out, ")\n");
    if (!o->complete)
        buf_adds(out, "      return ;;\n");
    else if (strcmp(o->complete, "file") == 0)
        buf_adds(out, "      _chaos_load_files -f; return ;;\n");
    else if (strcmp(o->complete, "dir") == 0)
        buf_adds(out, "      _chaos_load_files -d; return ;;\n");
    else if (o->complete[0] == '@')
        buf_adds(out, "      _chaos_load_faults; return ;;\n");
    else {
        buf_adds(out, "      mapfile -t COMPREPLY < <(compgen -W ");
        put_quoted(out, o->complete);
        buf_adds(out, " -- \"$cur\"); return ;;\n");
    }
}

static void bash_verb_names(struct buf *out)
{
    for (const struct verb *const *v = verbs; *v; v++)
        if (!(*v)->hidden)
            buf_addf(out, "%s ", (*v)->name);
    buf_adds(out, "--help --version");
}

static void bash_faults(struct buf *out)
{
    buf_adds(out, "_chaos_load_faults() {\n  local kind\n  compopt -o nospace 2>/dev/null\n"
                  "  for kind in");
    for (const struct fault_kind *const *k = fault_catalog; *k; k++)
        buf_addf(out, " '%s %s='", (*k)->name, (*k)->backend);
    buf_adds(out, "; do\n    case $kind in \"${cur#[\\'\\\"]}\"*) COMPREPLY+=(\"'$kind\") ;; esac\n"
                  "  done\n}\n");
}

static void bash_script(struct buf *out)
{
    buf_adds(out, "# bash completion for chaos-load\n"
                  "_chaos_load_files() {\n"
                  "  compopt -o filenames 2>/dev/null\n"
                  "  mapfile -t COMPREPLY < <(compgen \"$1\" -- \"$cur\")\n}\n");
    bash_faults(out);
    buf_adds(out, "_chaos_load() {\n"
                  "  local cur prev verb\n"
                  "  COMPREPLY=()\n"
                  "  cur=${COMP_WORDS[COMP_CWORD]}\n"
                  "  prev=${COMP_WORDS[COMP_CWORD-1]}\n"
                  "  verb=${COMP_WORDS[1]}\n"
                  "  if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
                  "    mapfile -t COMPREPLY < <(compgen -W '");
    bash_verb_names(out);
    buf_adds(out, "' -- \"$cur\")\n    return\n  fi\n  case \"$verb:$prev\" in\n");
    for (const struct verb *const *v = verbs; *v; v++)
        for (const struct opt *o = (*v)->opts; o && o->name && !(*v)->hidden; o++)
            if (o->arg != OPT_NONE)
                bash_value_case(*v, o, out);
    buf_adds(out, "  esac\n  case \"$verb\" in\n");
    for (const struct verb *const *v = verbs; *v; v++) {
        const char *words = positional_of((*v)->name);

        if ((*v)->hidden)
            continue;
        buf_addf(
            out,
            "    %s)\n      case \"$cur\" in\n        -*) mapfile -t COMPREPLY < <(compgen -W '",
            (*v)->name);
        bash_option_words(*v, out);
        buf_adds(out, "' -- \"$cur\") ;;\n");
        if (strcmp(words, "file") == 0)
            buf_adds(out, "        *) _chaos_load_files -f ;;\n");
        else if (*words)
            buf_addf(out, "        *) mapfile -t COMPREPLY < <(compgen -W '%s' -- \"$cur\") ;;\n",
                     words);
        buf_adds(out, "      esac ;;\n");
    }
    buf_adds(out, "  esac\n}\ncomplete -F _chaos_load chaos-load\n");
}

/* ---- zsh ---- */

/* Inside a spec of _arguments, ':' and brackets have a meaning. */
static void zsh_escaped(struct buf *out, const char *s)
{
    for (; *s; s++) {
        if (strchr(":[]\\", *s))
            buf_addc(out, '\\');
        if (*s == '\'')
            buf_adds(out, "'\\''");
        else
            buf_addc(out, *s);
    }
}

static void zsh_action(struct buf *out, const char *complete)
{
    if (!complete)
        complete = "";
    if (strcmp(complete, "file") == 0)
        buf_adds(out, "_files");
    else if (strcmp(complete, "dir") == 0)
        buf_adds(out, "_files -/");
    else if (complete[0] == '@') {
        buf_addc(out, '(');
        fault_words(out);
        buf_addc(out, ')');
    } else if (is_word_list(complete) && !strpbrk(complete, "()"))
        buf_addf(out, "(%s)", complete);
    else
        buf_addc(out, ' ');
}

static void zsh_option(struct buf *out, const struct opt *o)
{
    buf_adds(out, "      ");
    if (o->letter)
        buf_addf(out, "%s{-%c,--%s}", o->arg == OPT_MANY ? "\\*" : "", o->letter, o->name);
    else
        buf_addf(out, "%s--%s", o->arg == OPT_MANY ? "\\*" : "", o->name);
    buf_addf(out, "%s'[", o->arg == OPT_NONE || o->letter ? "" : "=");
    zsh_escaped(out, o->help);
    buf_addc(out, ']');
    if (o->arg != OPT_NONE) {
        buf_addc(out, ':');
        zsh_escaped(out, o->meta);
        buf_addc(out, ':');
        zsh_action(out, o->complete);
    }
    buf_adds(out, "' \\\n");
}

static void zsh_script(struct buf *out)
{
    buf_adds(out, "#compdef chaos-load\n_chaos_load() {\n  local -a verbs\n  verbs=(\n");
    for (const struct verb *const *v = verbs; *v; v++)
        if (!(*v)->hidden) {
            buf_addf(out, "    '%s:", (*v)->name);
            zsh_escaped(out, (*v)->summary);
            buf_adds(out, "'\n");
        }
    buf_adds(out, "  )\n  if (( CURRENT == 2 )); then\n    _describe verb verbs\n    return\n  fi\n"
                  "  local verb=$words[2]\n  shift words\n  (( CURRENT-- ))\n  case $verb in\n");
    for (const struct verb *const *v = verbs; *v; v++) {
        const char *words = positional_of((*v)->name);

        if ((*v)->hidden)
            continue;
        buf_addf(out, "    %s)\n      _arguments -s \\\n", (*v)->name);
        for (const struct opt *o = (*v)->opts; o && o->name; o++)
            zsh_option(out, o);
        if (strcmp(words, "file") == 0)
            buf_adds(out, "      '*:file:_files' \\\n");
        else if (*words)
            buf_addf(out, "      '*:word:(%s)' \\\n", words);
        buf_adds(out, "      '--help[help]' ;;\n");
    }
    buf_adds(out, "  esac\n}\n_chaos_load \"$@\"\n");
}

/* ---- fish ---- */

static void fish_option(struct buf *out, const struct verb *v, const struct opt *o)
{
    buf_addf(out, "complete -c chaos-load -n '__fish_seen_subcommand_from %s' -l %s", v->name,
             o->name);
    if (o->letter)
        buf_addf(out, " -s %c", o->letter);
    if (o->arg != OPT_NONE) {
        buf_adds(out, o->complete && strcmp(o->complete, "file") == 0 ? " -rF"
                      : o->complete && strcmp(o->complete, "dir") == 0
                          ? " -xa '(__fish_complete_directories)'"
                          : " -x");
        if (is_word_list(o->complete)) {
            buf_adds(out, " -a ");
            put_quoted(out, o->complete);
        }
        if (o->complete && o->complete[0] == '@') {
            auto_buf struct buf words = BUF_INIT(65536);

            fault_words(&words);
            buf_adds(out, " -a ");
            put_quoted(out, buf_str(&words));
        }
    }
    buf_adds(out, " -d ");
    put_quoted(out, o->help);
    buf_addc(out, '\n');
}

static void fish_script(struct buf *out)
{
    buf_adds(out, "# fish completion for chaos-load\ncomplete -c chaos-load -f\n");
    for (const struct verb *const *v = verbs; *v; v++) {
        const char *words = positional_of((*v)->name);

        if ((*v)->hidden)
            continue;
        buf_addf(out, "complete -c chaos-load -n __fish_use_subcommand -a %s -d ", (*v)->name);
        put_quoted(out, (*v)->summary);
        buf_addc(out, '\n');
        if (strcmp(words, "file") == 0)
            buf_addf(out, "complete -c chaos-load -n '__fish_seen_subcommand_from %s' -F\n",
                     (*v)->name);
        else if (*words)
            buf_addf(out, "complete -c chaos-load -n '__fish_seen_subcommand_from %s' -a '%s'\n",
                     (*v)->name, words);
        for (const struct opt *o = (*v)->opts; o && o->name; o++)
            fish_option(out, *v, o);
    }
}

bool complete_script(const char *shell, struct buf *out)
{
    static const struct {
        const char *name;
        void (*print)(struct buf *out);
    } shells[] = { { "bash", bash_script }, { "zsh", zsh_script }, { "fish", fish_script } };

    for (size_t i = 0; i < ARRAY_LEN(shells); i++)
        if (strcmp(shells[i].name, shell) == 0) {
            shells[i].print(out);
            return true;
        }
    return false;
}
