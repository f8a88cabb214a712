package load

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/dumpfile"
	"github.com/holdstill/holdstill/internal/schema"
)

// translation makes tables of one product tables of the other. The rules below are all that it knows: what no rule covers goes to the
// server as it is, which refuses what it does not know, before any live table is touched.
type translation struct {
	from, to string
	rules    []rule
}

// rule is one thing that the products spell differently.
type rule struct {
	pattern *regexp.Regexp
	with    string // what stands there instead
	says    string // told to the person; "" where nothing changes in meaning
	refuse  bool   // it has no counterpart
}

func r(pattern, with, says string) rule { return rule{regexp.MustCompile(pattern), with, says, false} }

func no(pattern, says string) rule { return rule{regexp.MustCompile(pattern), "", says, true} }

// intoMySQL are the rules for tables of MariaDB.
var intoMySQL = []rule{
	no(`(?i)WITH SYSTEM VERSIONING|PERIOD FOR `, "MySQL has no system-versioned or period tables"),
	no(`(?i)DEFAULT \(?nextval\(`, "MySQL has no sequences"),
	no(`(?i)\bENGINE=(?:ROCKSDB|SPIDER|CONNECT|S3|ColumnStore|OQGRAPH|SPHINX|MROONGA)\b`, "MySQL does not have the engine"),
	no("(?i)^`(?:[^`]|``)+` vector\\(", "vectors are stored differently"),
	no(`(?i)WITHOUT OVERLAPS`, "MySQL has no WITHOUT OVERLAPS"),
	r(`(?i)\bENGINE=Aria\b`, "ENGINE=InnoDB", "the engine Aria becomes InnoDB"),
	r(`(?i) (?:PAGE_CHECKSUM|TRANSACTIONAL)=\w+`, "", ""),
	r("(?i) `?(?:PAGE_COMPRESSED|PAGE_COMPRESSION_LEVEL|ENCRYPTED|ENCRYPTION_KEY_ID)`?=\\S+", "", "page compression and encryption are left out"),
	r(`(?i) /\*M?!?\d* ?COMPRESSED\*/| COMPRESSED(?: |$)`, " ", "column compression is left out"),
	r(`(?i)\buuid\b( (?:NOT NULL|DEFAULT|INVISIBLE)|$)`, "char(36) CHARACTER SET ascii$1", "UUID becomes CHAR(36)"),
	r(`(?i)\binet6\b( (?:NOT NULL|DEFAULT|INVISIBLE)|$)`, "varchar(45) CHARACTER SET ascii$1", "INET6 becomes VARCHAR(45)"),
	r(`(?i)\binet4\b( (?:NOT NULL|DEFAULT|INVISIBLE)|$)`, "varchar(15) CHARACTER SET ascii$1", "INET4 becomes VARCHAR(15)"),
	r("(?i)longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin( NOT NULL)?( DEFAULT NULL)? CHECK \\(json_valid\\(`(?:[^`]|``)+`\\)\\)", "json$1$2", "text that is checked as JSON becomes JSON, which keeps the meaning and not the spelling"),
	r(`(?i)\butf8mb4_uca1400_ai_ci\b`, "utf8mb4_0900_ai_ci", "the collation utf8mb4_uca1400_ai_ci becomes utf8mb4_0900_ai_ci, of a newer Unicode"),
	r(`(?i)\butf8mb4_uca1400_as_ci\b`, "utf8mb4_0900_as_ci", "the collation utf8mb4_uca1400_as_ci becomes utf8mb4_0900_as_ci"),
	r(`(?i)\butf8mb4_uca1400_as_cs\b`, "utf8mb4_0900_as_cs", "the collation utf8mb4_uca1400_as_cs becomes utf8mb4_0900_as_cs"),
	r(`(?i)\butf8mb3_uca1400_\w+`, "utf8mb3_unicode_ci", "collations utf8mb3_uca1400 become utf8mb3_unicode_ci"),
	r(`(?i)\b(\w+)_nopad_(ci|bin)\b`, "${1}_$2", "NOPAD collations become those that ignore spaces at the end"),
	r(`(?i)\bcurrent_timestamp\((\d?)\)`, "CURRENT_TIMESTAMP($1)", ""),
	r(`(?i) INVISIBLE\b`, " INVISIBLE", ""),
	r(`(?i) IGNORED\b`, " INVISIBLE", "ignored indexes become invisible"),
}

// intoMariaDB are the rules for tables of MySQL.
var intoMariaDB = []rule{
	no("(?i)^(?:UNIQUE )?KEY `(?:[^`]|``)+` \\(\\(", "MariaDB has no indexes over expressions"),
	no(`(?i)MULTI-VALUED|CAST\(.* ARRAY\)`, "MariaDB has no multi-valued indexes"),
	no("(?i)^`(?:[^`]|``)+` vector\\(", "vectors are stored differently"),
	no(`(?i)\bENGINE=NDB`, "MariaDB does not have the engine NDB"),
	r(`(?i)\butf8mb4_0900_ai_ci\b`, "utf8mb4_uca1400_ai_ci", "the collation utf8mb4_0900_ai_ci becomes utf8mb4_uca1400_ai_ci, of another Unicode version"),
	r(`(?i)\butf8mb4_0900_as_ci\b`, "utf8mb4_uca1400_as_ci", "the collation utf8mb4_0900_as_ci becomes utf8mb4_uca1400_as_ci"),
	r(`(?i)\butf8mb4_0900_as_cs\b`, "utf8mb4_uca1400_as_cs", "the collation utf8mb4_0900_as_cs becomes utf8mb4_uca1400_as_cs"),
	r(`(?i)\butf8mb4_0900_bin\b`, "utf8mb4_nopad_bin", "the collation utf8mb4_0900_bin becomes utf8mb4_nopad_bin"),
	r(`(?i)\butf8mb4_\w+_0900_(\w+)\b`, "utf8mb4_uca1400_$1", "the collations of languages become utf8mb4_uca1400, which sorts as most languages do"),
	r(`/\*!80023 INVISIBLE \*/`, "INVISIBLE", ""),
	r(`(?i) /\*!80016 DEFAULT ENCRYPTION='\w'\s*\*/`, "", ""),
	r(`(?i) (?:ENCRYPTION|COMPRESSION)='\w*'`, "", "encryption and page compression are left out"),
	r(`/\*!80000 INVISIBLE \*/`, "IGNORED", "invisible indexes become ignored"),
	r(`(?i) /\*!80003 SRID \d+ \*/`, "", "the restriction to one SRID is left out"),
	r(`(?i) (?:AUTOEXTEND_SIZE|SECONDARY_ENGINE|ENGINE_ATTRIBUTE)=\S+`, "", ""),
}

// noCollation is for MariaDB before 10.10, which lacks the collations of Unicode 14.
var noCollation = r(`(?i)\butf8mb4_uca1400_(?:ai|as)_c[is]\b`, "utf8mb4_unicode_ci", "the collations utf8mb4_0900 become utf8mb4_unicode_ci, of Unicode 4")

// translationFor decides whether there is anything to translate; nil: no, or the dump does not tell where it comes from.
func translationFor(product string, held *schema.Server) (*translation, error) {
	switch {
	case product == "" || product == held.Product:
		return nil, nil
	case held.Product == database.MySQL && strings.HasPrefix(held.Version, "5."):
		return nil, &Refusal{"tables of MariaDB go into MySQL 8.0 and later only", "load them into a newer server"}
	case held.Product == database.MySQL:
		return &translation{database.MariaDB, database.MySQL, intoMySQL}, nil
	}
	rules := intoMariaDB
	if v := held.Version; strings.HasPrefix(v, "10.") && !strings.HasPrefix(v, "10.10") && !strings.HasPrefix(v, "10.11") {
		rules = append(rules[:len(rules):len(rules)], noCollation)
	}
	return &translation{database.MySQL, database.MariaDB, rules}, nil
}

// table translates a definition, and says what changed.
func (t *translation) table(d *definition) (changes []string, err error) {
	said := map[string]bool{}
	one := func(line string) (string, error) {
		for _, rule := range t.rules {
			if !matchesOutside(rule.pattern, line) {
				continue
			}
			if rule.refuse {
				return "", fmt.Errorf("%s: %.120s", rule.says, line)
			}
			line = replaceOutside(rule.pattern, line, rule.with)
			if rule.says != "" && !said[rule.says] {
				said[rule.says] = true
				changes = append(changes, rule.says)
			}
		}
		return line, nil
	}
	for i := range d.lines {
		if d.lines[i], err = one(d.lines[i]); err != nil {
			return nil, err
		}
	}
	if d.tail, err = one(d.tail); err != nil {
		return nil, err
	}
	if t.to == database.MySQL {
		d.deferGenerated()
	}
	return changes, nil
}

// database translates what a new database has as its defaults.
func (t *translation) database(d *dumpfile.Database) {
	if t == nil {
		return
	}
	for _, rule := range t.rules {
		if !rule.refuse {
			d.Collation = rule.pattern.ReplaceAllString(d.Collation, rule.with)
		}
	}
}

// comments and defaults are text of people: no rule is for them.
var quoted = regexp.MustCompile(`'(?:[^'\\]|''|\\.)*'`)

// hide puts marks in the place of texts in quotes, and returns what brings them back.
func hide(line string) (string, func(string) string) {
	var texts []string
	hidden := quoted.ReplaceAllStringFunc(line, func(text string) string {
		texts = append(texts, text)
		return fmt.Sprintf("\x00%d\x00", len(texts)-1)
	})
	return hidden, func(s string) string {
		for i, text := range texts {
			s = strings.Replace(s, fmt.Sprintf("\x00%d\x00", i), text, 1)
		}
		return s
	}
}

func matchesOutside(pattern *regexp.Regexp, line string) bool {
	hidden, _ := hide(line)
	return pattern.MatchString(hidden) || pattern.MatchString(line) && strings.Contains(pattern.String(), "='")
}

func replaceOutside(pattern *regexp.Regexp, line, with string) string {
	if strings.Contains(pattern.String(), "='") {
		return pattern.ReplaceAllString(line, with)
	}
	hidden, back := hide(line)
	return back(pattern.ReplaceAllString(hidden, with))
}
