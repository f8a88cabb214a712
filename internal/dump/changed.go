package dump

import (
	"errors"
	"regexp"
)

// ChangedError is a live dump that failed because a table was made, altered or dropped while it ran: a snapshot has rows, not definitions.
type ChangedError struct{ Err error }

func (e *ChangedError) Error() string {
	return "a table was made, altered, truncated or dropped during the dump: " + e.Err.Error()
}
func (e *ChangedError) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *ChangedError) Hint() string {
	return "dump again when nobody changes tables, name the tables to dump, or dump a point, whose tables do not change"
}

// The servers' errors for it are no such database or table (1049, 1146) and "Table definition has changed, please retry transaction" (1412).
var definition = regexp.MustCompile(`(?:Error:? |\()(?:1049|1146|1412)\b|Couldn't find table`)

func changed(err error) error {
	var already *ChangedError
	if err == nil || errors.As(err, &already) || !definition.MatchString(err.Error()) {
		return err
	}
	return &ChangedError{err}
}
