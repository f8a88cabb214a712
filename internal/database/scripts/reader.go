package scripts

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// reader takes values out of a JSON object and gathers the faults. A value of the wrong type is a fault: Azure's own host
// takes "false" for true, as any text is true in Python.
type reader struct {
	keys   map[string]any
	faults []error
	notes  []string
}

func (r *reader) fault(format string, args ...any) {
	r.faults = append(r.faults, fmt.Errorf(format, args...))
}

func (r *reader) text(key string, needed bool) string {
	switch v := r.keys[key].(type) {
	case string:
		return v
	case nil:
		if needed {
			r.fault("%s is missing", key)
		}
	default:
		r.fault("%s must be a text in quotes", key)
	}
	return ""
}

// place is a script's path. An empty one, as in Azure's template, is a script that is not found.
func (r *reader) place(key string) string {
	path := r.text(key, true)
	if path != "" && !filepath.IsAbs(path) {
		r.fault("%s must be an absolute path, not %q", key, path)
	}
	return path
}

// texts are parameters, of which numbers and truths go as they are written.
func (r *reader) texts(key string) []string {
	list, ok := r.keys[key].([]any)
	if !ok {
		if r.keys[key] != nil {
			r.fault("%s must be a list of texts, such as [\"a\", \"b\"]", key)
		}
		return nil
	}
	var out []string
	for _, v := range list {
		switch v := v.(type) {
		case string:
			if strings.ContainsRune(v, 0) {
				r.fault("%s must not hold a zero byte", key)
			}
			out = append(out, v)
		case json.Number, bool:
			out = append(out, fmt.Sprint(v))
		default:
			r.fault("%s must hold texts only", key)
		}
	}
	return out
}

func (r *reader) count(key string) int {
	v := r.keys[key]
	if v == nil {
		return 0
	}
	number, _ := v.(json.Number)
	n, err := number.Int64()
	if err != nil || n < 0 || n > mostRetries {
		r.fault("%s must be a whole number from 0 to %d, without quotes", key, mostRetries)
		return 0
	}
	return int(n)
}

func (r *reader) seconds(key string, absent, most time.Duration) time.Duration {
	v := r.keys[key]
	if v == nil {
		return absent
	}
	number, _ := v.(json.Number)
	n, err := number.Float64()
	if err != nil || n <= 0 {
		r.fault("%s must be a number of seconds, more than 0, without quotes", key)
		return absent
	}
	return time.Duration(min(n, most.Seconds()) * float64(time.Second))
}

// truth understands what people write, with a note; all else is refused rather than guessed.
func (r *reader) truth(key string) bool {
	switch v := r.keys[key].(type) {
	case nil:
		return true
	case bool:
		return v
	case string:
		if is := strings.EqualFold(v, "true"); is || strings.EqualFold(v, "false") {
			r.notes = append(r.notes, fmt.Sprintf("%s is the text %q, and taken for what it says; Azure's own host takes any text for true: write it without quotes", key, v))
			return is
		}
	}
	r.fault("%s must be true or false, without quotes", key)
	return true
}
