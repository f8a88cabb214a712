package dumpfile

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/holdstill/holdstill/internal/schema"
)

// prefix begins every file's name, as in the procedure that this continues.
const prefix = "mysqldump-"

// nameMax is the kernel's limit for a file's name, in bytes.
const nameMax = 255

// stamp is a moment in a file's name.
const stamp = "20060102-1504"

// FileName gives the name of a table's file: mysqldump-DB-TABLE-YYYYMMDD-HHMM.sql and the extension. In database and table every
// character that is no letter, digit, underscore or dollar sign is written as %XX, its bytes in hexadecimal, so no two tables share a name and
// ParseFileName reads it back. Names too long for a file keep their beginning and get a tilde with a part of the SHA-256 of the whole.
func FileName(n schema.Name, moment time.Time, ext string) string {
	return whole(prefix+encode(n.Database)+"-"+encode(n.Table), n, moment, ext)
}

// PartName gives the name of a part's file: routines-DB-YYYYMMDD-HHMM.sql and the extension, users-YYYYMMDD-HHMM.sql where it is of no database.
func PartName(p Part, database string, moment time.Time, ext string) string {
	if database == "" {
		return string(p) + "-" + moment.UTC().Format(stamp) + ".sql" + ext
	}
	return whole(string(p)+"-"+encode(database), schema.Name{Database: database}, moment, ext)
}

func whole(name string, n schema.Name, moment time.Time, ext string) string {
	tail := "-" + moment.UTC().Format(stamp) + ".sql" + ext
	room := nameMax - len(tail) - len(PartSuffix)
	if len(name) > room {
		sum := sha256.Sum256([]byte(n.SQL()))
		short := "~" + hex.EncodeToString(sum[:8])
		cut := room - len(short)
		for cut > 0 && !utf8.RuneStart(name[cut]) {
			cut--
		}
		name = name[:cut] + short
	}
	return name + tail
}

func encode(part string) string {
	var b strings.Builder
	for _, r := range part {
		if r == '_' || r == '$' || unicode.IsLetter(r) || unicode.IsDigit(r) {
			b.WriteRune(r)
			continue
		}
		for _, c := range []byte(string(r)) {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// ParseFileName reads the name of a table's file back. Names that were too long, and those of parts, are told by the manifest only.
func ParseFileName(file string) (n schema.Name, moment time.Time, ok bool) {
	rest, ok := strings.CutPrefix(file, prefix)
	if !ok {
		return n, moment, false
	}
	rest, _, ok = strings.Cut(rest, ".sql")
	words := strings.Split(rest, "-")
	if !ok || len(words) != 4 || strings.Contains(rest, "~") {
		return n, moment, false
	}
	var err error
	if moment, err = time.Parse(stamp, words[2]+"-"+words[3]); err != nil {
		return n, moment, false
	}
	n.Database, ok = decode(words[0])
	if !ok {
		return n, moment, false
	}
	n.Table, ok = decode(words[1])
	return n, moment, ok
}

// decode is the inverse of encode; what encode does not write is nothing.
func decode(text string) (string, bool) {
	var b strings.Builder
	for rest := text; ; {
		before, after, more := strings.Cut(rest, "%")
		b.WriteString(before)
		if !more {
			break
		}
		if len(after) < 2 {
			return "", false
		}
		c, err := hex.DecodeString(after[:2])
		if err != nil {
			return "", false
		}
		b.Write(c)
		rest = after[2:]
	}
	name := b.String()
	return name, name != "" && utf8.ValidString(name) && encode(name) == text
}

var ours = regexp.MustCompile(`^(?:mysqldump|schema|views|routines|triggers|events|users|grants)-.*\d{8}-\d{4}\.sql(?:\.gz|\.zst)?$`)

// IsOurs tells the name of a dump's file from any other.
func IsOurs(file string) bool { return ours.MatchString(file) }
