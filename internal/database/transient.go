package database

import "strings"

// Transient tells what of a data directory stays behind when it is copied, by the name below it: what belongs to the process that ran, and not to its data.
func Transient(name string) bool {
	if strings.HasPrefix(name, "#innodb_temp/") {
		return true
	}
	if strings.Contains(name, "/") {
		return false
	}
	for _, suffix := range []string{".pid", ".sock", ".sock.lock"} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return name == "ibtmp1" || name == "lost+found"
}
