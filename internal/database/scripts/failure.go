package scripts

import (
	"fmt"
	"strings"
)

// The codes that Azure documents for its framework. Pre is even, post is one more.
const (
	codeFailed           = 300 // the script ended with another code than 0
	codeNotFound         = 302
	codeHostParse        = 304
	codePluginParse      = 305
	codePermission       = 306
	codeTimeout          = 308 // timeoutInSeconds of the plugin
	codeHostTimeout      = 310 // timeoutInSeconds of the host, which was less
	codeHostMissing      = 313
	codeHostPermission   = 314
	codePluginMissing    = 316
	codePluginPermission = 317
)

// Failure is something that went wrong, or would, with Azure's code for it.
type Failure struct {
	Code   int
	Text   string
	Remedy string
}

func failure(code int, remedy, format string, args ...any) *Failure {
	return &Failure{Code: code, Text: fmt.Sprintf(format, args...), Remedy: remedy}
}

func (f *Failure) Error() string { return fmt.Sprintf("%s (code %d)", f.Text, f.Code) }

// Hint is what a person can do.
func (f *Failure) Hint() string { return f.Remedy }

// several are errors on one line: they become a point's reason.
type several []error

// joined is nil for no errors.
func joined(all []error) error {
	if len(all) == 0 {
		return nil
	}
	return several(all)
}

func (s several) Error() string {
	var texts []string
	for _, err := range s {
		texts = append(texts, err.Error())
	}
	return strings.Join(texts, "; ")
}

func (s several) Unwrap() []error { return s }
