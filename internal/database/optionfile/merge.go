package optionfile

import (
	"slices"
	"strings"

	"github.com/holdstill/holdstill/internal/database"
)

// CommandLine is the Group of options that stood among a server's arguments.
const CommandLine = "command line"

// repeatable options add up instead of replacing each other.
var repeatable = []string{
	"plugin_load_add", "replicate_do_db", "replicate_ignore_db", "replicate_do_table", "replicate_ignore_table",
	"replicate_wild_do_table", "replicate_wild_ignore_table", "replicate_rewrite_db", "replicate_same_server_id",
	"binlog_do_db", "binlog_ignore_db", "performance_schema_instrument", "init_rpl_role",
}

// Merge tells what is in force: the last of each option, where it stood last, and all of the repeatable ones. The
// arguments of the server (the program's name first) come after all files.
func Merge(files []database.OptionFile, arguments []string) []database.Option {
	var all []database.Option
	for _, f := range files {
		all = append(all, f.Options...)
	}
	all = append(all, fromArguments(arguments)...)
	last := map[string]int{}
	for i, o := range all {
		last[key(o.Name)] = i
	}
	var out []database.Option
	for i, o := range all {
		if last[key(o.Name)] == i || slices.Contains(repeatable, key(o.Name)) {
			out = append(out, o)
		}
	}
	return out
}

// key is the same for all spellings of one option: skip_log_bin takes back log_bin.
func key(name string) string {
	name = strings.ToLower(strings.TrimPrefix(Name(name), "loose_"))
	for _, prefix := range []string{"skip_", "disable_", "enable_", "maximum_"} {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			return rest
		}
	}
	return name
}

// short options of the servers.
var short = map[string]string{"-u": "user", "-h": "datadir", "-P": "port", "-b": "basedir", "-t": "tmpdir", "-l": "general_log"}

func fromArguments(arguments []string) []database.Option {
	if len(arguments) == 0 {
		return nil
	}
	var out []database.Option
	rest := arguments[1+len(defaultArguments(arguments)):]
	for i := 0; i < len(rest); i++ {
		o, found := argument(rest[i])
		if o.Name == "" {
			continue
		}
		if !found && i+1 < len(rest) && !strings.HasPrefix(rest[i+1], "-") { // "--port 3306"
			i++
			o.Value, found = rest[i], true
		}
		o.Bare = !found
		out = append(out, o)
	}
	return out
}

// argument reads one word of a command line; its name is empty if it is no option.
func argument(word string) (o database.Option, hasValue bool) {
	o.Group = CommandLine
	if rest, ok := strings.CutPrefix(word, "--"); ok {
		name, value, found := strings.Cut(rest, "=")
		o.Name, o.Value = Name(name), value
		return o, found
	}
	if len(word) >= 2 && short[word[:2]] != "" {
		o.Name, o.Value = short[word[:2]], word[2:]
		return o, len(word) > 2
	}
	return o, false
}
