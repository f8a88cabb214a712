package optionfile

import (
	"strings"

	"github.com/holdstill/holdstill/internal/database"
)

// isSecret tells by the name. An option that ends in "key" and holds a path is only the place of a key.
func isSecret(name, value string) bool {
	name = strings.ToLower(Name(name))
	for _, word := range []string{"password", "passwd", "secret"} {
		if strings.Contains(name, word) {
			return !isSwitch(value)
		}
	}
	return strings.HasSuffix(name, "_key") && value != "" && !strings.ContainsAny(value, "/.") && !isSwitch(value)
}

// isSwitch lets settings through that are about passwords and are none: old_passwords=0, report_password=ON.
func isSwitch(value string) bool {
	switch strings.ToUpper(value) {
	case "", "0", "1", "ON", "OFF":
		return true
	}
	return false
}

func hideSecrets(files []database.OptionFile) {
	for _, f := range files {
		for i, o := range f.Options {
			if isSecret(o.Name, o.Value) {
				f.Options[i].Value = ""
			}
		}
	}
}

// HideArguments leaves out the arguments of a command line that look like secrets.
func HideArguments(arguments []string) []string {
	out := make([]string, 0, len(arguments))
	skip := false
	for _, a := range arguments {
		name, value, found := strings.Cut(a, "=")
		switch {
		case skip:
			skip = false
		case strings.HasPrefix(a, "--") && found && isSecret(strings.TrimPrefix(name, "--"), value):
		case strings.HasPrefix(a, "--") && !found && isSecret(strings.TrimPrefix(name, "--"), "x"):
			skip = true // its value may be the next one
		default:
			out = append(out, a)
		}
	}
	return out
}
