// Package hostname tells the name that points have of the machine on which they were taken.
package hostname

import (
	"fmt"
	"os"
	"regexp"
)

// Variable gives another name than the kernel's: where several machines have the same, as containers may, and for tests.
const Variable = "HOLDSTILL_HOST"

var sound = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,252}$`)

// Name is this machine's name, "unknown" if it has none.
func Name() string {
	if name := os.Getenv(Variable); name != "" {
		return name
	}
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "unknown"
	}
	return name
}

// Check refuses a name that cannot be part of another, as a repository's names of points are.
func Check() error {
	name := Name()
	if sound.MatchString(name) {
		return nil
	}
	return fmt.Errorf("%q is no name for a machine: it may have letters, digits, dot, dash and underscore; set %s, or type: hostnamectl hostname NAME", name, Variable)
}
