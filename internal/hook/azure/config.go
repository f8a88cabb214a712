package azure

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// fields in the order in which the file is published.
var fields = []string{
	"pluginName", "preScriptLocation", "postScriptLocation", "preScriptParams", "postScriptParams", "preScriptNoOfRetries",
	"postScriptNoOfRetries", "timeoutInSeconds", "continueBackupOnFailure", "fsFreezeEnabled",
}

// pluginConfig is the present configuration with our scripts in it, and the scripts that it named before. What a person may have chosen
// stays: whether the backup goes on after a failed pre, a longer timeout, fields that we do not know. Where it says all that is
// needed already, it is returned as it is.
func pluginConfig(present []byte) (content []byte, displaced string) {
	was := map[string]any{}
	if json.Unmarshal(present, &was) != nil || was == nil { // the host could not read it either
		was = map[string]any{}
	}
	is := maps.Clone(was)
	displaced = moveIn(is)
	// A failed pre costs application consistency, not the backup: this is a backup of the whole machine, and a file-system-consistent one
	// is better than none; Azure marks it as such, and no point of ours is recorded for it.
	keep(is, "continueBackupOnFailure", true)
	keep(is, "pluginName", "ScriptRunner")
	keep(is, "preScriptNoOfRetries", 0.0) // a retry only looks again at the process that has ended
	keep(is, "postScriptNoOfRetries", 0.0)
	is["fsFreezeEnabled"] = true // a held server still has pages that only the file system knows; the host's freeze writes them out
	if seconds, ok := is["timeoutInSeconds"].(float64); !ok || seconds < hostWaits {
		is["timeoutInSeconds"] = float64(hostWaits)
	}
	if reflect.DeepEqual(was, is) {
		return present, displaced
	}
	return render(is), displaced
}

// moveIn names our scripts, and returns those that were named.
func moveIn(is map[string]any) string {
	var displaced []string
	for _, script := range []struct{ location, params, ours string }{
		{"preScriptLocation", "preScriptParams", prePath},
		{"postScriptLocation", "postScriptParams", postPath},
	} {
		had, _ := is[script.location].(string)
		if had == script.ours {
			keep(is, script.params, []any{})
			continue
		}
		if had != "" {
			displaced = append(displaced, had)
		}
		is[script.location], is[script.params] = script.ours, []any{}
	}
	return strings.Join(displaced, ", ")
}

// keep leaves a value of the right type.
func keep(is map[string]any, field string, otherwise any) {
	if reflect.TypeOf(is[field]) != reflect.TypeOf(otherwise) {
		is[field] = otherwise
	}
}

func render(is map[string]any) []byte {
	order := slices.Clone(fields)
	for _, field := range slices.Sorted(maps.Keys(is)) {
		if !slices.Contains(order, field) {
			order = append(order, field)
		}
	}
	var out bytes.Buffer
	out.WriteString("{")
	for i, field := range order {
		name, _ := json.Marshal(field)
		value, _ := json.MarshalIndent(is[field], "  ", "  ") // what came from JSON can become JSON
		if i > 0 {
			out.WriteString(",")
		}
		out.WriteString("\n  " + string(name) + ": " + string(value))
	}
	out.WriteString("\n}\n")
	return out.Bytes()
}
