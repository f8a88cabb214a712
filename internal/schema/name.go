package schema

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Name is a database, or a table of one.
type Name struct {
	Database string `json:"database"`
	Table    string `json:"table,omitempty"` // "": all of the database
}

// The servers' limit for a name, in characters.
const nameLimit = 64

// NameError is a name that cannot be one.
type NameError struct {
	Text string
	Why  string
}

func (e *NameError) Error() string {
	return fmt.Sprintf("%q is no name of a database or table: %s", e.Text, e.Why)
}

// Hint says how to write it.
func (e *NameError) Hint() string {
	return "write DB or DB.TABLE; a name that holds a dot or a backtick goes in backticks, where a backtick is doubled: '`my.db`.`my table`'"
}

// ParseName reads DB or DB.TABLE as people type it. Each part may stand in backticks, and must where it holds a dot. Every error is a *NameError.
func ParseName(text string) (Name, error) {
	var parts []string
	rest, more := text, true
	for more {
		var part string
		var err error
		if part, rest, more, err = nextPart(rest); err != nil {
			return Name{}, &NameError{text, err.Error()}
		}
		parts = append(parts, part)
	}
	switch len(parts) {
	case 1:
		return Name{Database: parts[0]}, nil
	case 2:
		return Name{parts[0], parts[1]}, nil
	}
	return Name{}, &NameError{text, fmt.Sprintf("it has %d parts", len(parts))}
}

// ParseTable is ParseName where it must be a table.
func ParseTable(text string) (Name, error) {
	n, err := ParseName(text)
	if err == nil && n.Table == "" {
		return Name{}, &NameError{text, "the table's database is missing (or the table)"}
	}
	return n, err
}

// nextPart cuts the first part off; more tells whether a dot followed it.
func nextPart(text string) (part, rest string, more bool, err error) {
	if quoted, ok := strings.CutPrefix(text, "`"); ok {
		part, rest, err = unquote(quoted)
		if err != nil {
			return "", "", false, err
		}
		if rest != "" && rest[0] != '.' {
			return "", "", false, fmt.Errorf("after the closing backtick stands %q", rest)
		}
		more = rest != ""
		rest = strings.TrimPrefix(rest, ".")
	} else {
		part, rest, more = strings.Cut(text, ".")
		if strings.Contains(part, "`") {
			return "", "", false, fmt.Errorf("a backtick stands inside a part that is not in backticks")
		}
	}
	return part, rest, more, check(part)
}

// unquote reads up to the closing backtick.
func unquote(text string) (part, rest string, err error) {
	var b strings.Builder
	for {
		before, after, ok := strings.Cut(text, "`")
		b.WriteString(before)
		if !ok {
			return "", "", fmt.Errorf("the closing backtick is missing")
		}
		if !strings.HasPrefix(after, "`") {
			return b.String(), after, nil
		}
		b.WriteByte('`')
		text = after[1:]
	}
}

// check holds the rules of both products (identifiers, "Schema Object Names").
func check(part string) error {
	switch {
	case part == "":
		return fmt.Errorf("a part of it is empty")
	case !utf8.ValidString(part):
		return fmt.Errorf("it is not in UTF-8")
	case utf8.RuneCountInString(part) > nameLimit:
		return fmt.Errorf("a part has %d characters, and %d are allowed", utf8.RuneCountInString(part), nameLimit)
	case strings.ContainsRune(part, 0):
		return fmt.Errorf("it holds a zero byte")
	case strings.HasSuffix(part, " "):
		return fmt.Errorf("a part ends with a space, which no name can")
	}
	for _, r := range part {
		if r > 0xFFFF {
			return fmt.Errorf("the servers allow no character like %q in names", r)
		}
	}
	return nil
}

// String writes the name as ParseName reads it: in backticks only where they are needed.
func (n Name) String() string {
	if n.Table == "" {
		return plain(n.Database)
	}
	return plain(n.Database) + "." + plain(n.Table)
}

func plain(part string) string {
	if strings.ContainsAny(part, ".` \t\n'\"$\\*?&;|<>(){}[]!#~") {
		return Quote(part)
	}
	return part
}

// SQL writes the name for a statement.
func (n Name) SQL() string {
	if n.Table == "" {
		return Quote(n.Database)
	}
	return Quote(n.Database) + "." + Quote(n.Table)
}

// Quote makes an identifier of a statement.
func Quote(part string) string { return "`" + strings.ReplaceAll(part, "`", "``") + "`" }
