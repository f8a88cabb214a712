package load

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/holdstill/holdstill/internal/dumpfile"
)

// deed is what a statement of a dump does.
type deed int

const (
	other     deed = iota
	skipped        // what we do ourselves, or what must not be done to a live server
	setting        // SET of the session
	create         // CREATE TABLE, CREATE SEQUENCE
	insert         // INSERT, REPLACE
	harmless       // about the table that is loaded: keys off and on, a sequence's number, the end of a transaction
	code           // CREATE of a view, a routine, a trigger, an event
	switching      // USE, CREATE DATABASE
)

const identifier = "(`(?:[^`]|``)+`|[\\w$\\x{80}-\\x{ffff}]+)"

// ofDatabase may stand before the name of a trigger and of its table: MariaDB keeps them as they were typed.
const ofDatabase = "(?:(?:`(?:[^`]|``)+`|[\\w$\\x{80}-\\x{ffff}]+)\\s*\\.\\s*)?"

var (
	// conditional is what stands around a statement that only some versions shall read.
	conditional = regexp.MustCompile(`/\*!\d{5,6}\s*|/\*M!\d{5,6}\s*|/\*!\s*|\s*\*/`)

	createTable = regexp.MustCompile(`(?is)^CREATE\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?` + identifier + `\s*\(`)
	createSeq   = regexp.MustCompile(`(?is)^CREATE\s+SEQUENCE\s+(?:IF\s+NOT\s+EXISTS\s+)?` + identifier + `\s`)
	insertInto  = regexp.MustCompile(`(?is)^(?:INSERT|REPLACE)\s+(?:IGNORE\s+)?INTO\s+` + identifier + `\s*[\s(]`)
	keysSwitch  = regexp.MustCompile(`(?is)^ALTER\s+TABLE\s+` + identifier + `\s+(?:DISABLE|ENABLE)\s+KEYS$`)
	setValue    = regexp.MustCompile(`(?is)^(?:DO|SELECT)\s+SETVAL\s*\(\s*` + identifier + `\s*,[\d\s,-]+\)$`)
	// bulkLoad is how Percona's mysqldump asks whether there is MyRocks, and then sets it for the session: a matter of speed.
	bulkLoad    = regexp.MustCompile(`(?is)^(?:SELECT\s+COUNT\(\*\)\s+INTO\s+@\w*rocksdb\w*\s+FROM\s+(?:INFORMATION_SCHEMA|performance_schema)\.\w+\s+WHERE\s[^;()]*|PREPARE\s+s\s+FROM\s+@\w+|EXECUTE\s+s|DEALLOCATE\s+PREPARE\s+s)$`)
	transaction = regexp.MustCompile(`(?is)^(?:COMMIT|BEGIN|START\s+TRANSACTION)$`)
	passOver    = regexp.MustCompile(`(?is)^(?:DROP\s+(?:TABLE|VIEW|SEQUENCE|TRIGGER|EVENT|FUNCTION|PROCEDURE|PACKAGE(?:\s+BODY)?)\s+IF\s+EXISTS|LOCK\s+TABLES?|UNLOCK\s+TABLES?|ANALYZE\s+TABLE|FLUSH\s)`)
	useDatabase = regexp.MustCompile(`(?is)^(?:USE\s+|CREATE\s+DATABASE\s+(?:IF\s+NOT\s+EXISTS\s+)?)` + identifier)
	createCode  = regexp.MustCompile(`(?is)^CREATE\s+(?:OR\s+REPLACE\s+)?(?:AGGREGATE\s+)?(?:ALGORITHM\s*=\s*\w+\s+)?(?:DEFINER\s*=\s*(\S+|` + "`(?:[^`]|``)*`@`(?:[^`]|``)*`" + `)\s+)?(?:SQL\s+SECURITY\s+\w+\s+)?(AGGREGATE\s+FUNCTION|FUNCTION|PROCEDURE|PACKAGE\s+BODY|PACKAGE|EVENT|TRIGGER|VIEW)\s+(?:IF\s+NOT\s+EXISTS\s+)?` + identifier + `\s*(\.)?`)
	setWord     = regexp.MustCompile(`(?is)^SET\s`)
	// beyond are settings that reach further than the session, or would hide the load from replicas.
	beyond = regexp.MustCompile(`(?is)\bGLOBAL\b|\bPERSIST(?:_ONLY)?\b|SQL_LOG_BIN|GTID_PURGED|\bPASSWORD\b|\bROLE\b`)
)

// meaning reads the beginning of a statement: what it does, and to what. It knows what dump tools write and nothing else, so that a file
// from anywhere cannot do to a live server what it likes.
func meaning(s dumpfile.Statement) (deed, string, error) {
	const enough = 2000
	head := string(s.Text[:min(len(s.Text), enough)])
	if !insertInto.MatchString(head) {
		head = strings.TrimSpace(conditional.ReplaceAllString(head, " "))
	}
	for _, rule := range []struct {
		pattern *regexp.Regexp
		deed    deed
	}{{insertInto, insert}, {createTable, create}, {createSeq, create}, {keysSwitch, harmless}, {setValue, harmless}, {useDatabase, switching}} {
		if found := rule.pattern.FindStringSubmatch(head); found != nil {
			return rule.deed, unquote(found[1]), nil
		}
	}
	switch {
	case head == "" || passOver.MatchString(head) || bulkLoad.MatchString(head):
		return skipped, "", nil
	case setWord.MatchString(head) && beyond.MatchString(head):
		return skipped, "", nil
	case setWord.MatchString(head):
		return setting, "", nil
	case transaction.MatchString(head):
		return harmless, "", nil
	}
	if found := createCode.FindStringSubmatch(head); found != nil && (found[4] == "" || strings.EqualFold(found[2], "TRIGGER")) {
		return code, unquote(found[3]), nil
	}
	return other, "", fmt.Errorf("line %d: this is no statement of a dump: %.80s", s.Line, head)
}

func unquote(name string) string {
	if strings.HasPrefix(name, "`") {
		return strings.ReplaceAll(name[1:len(name)-1], "``", "`")
	}
	return name
}
