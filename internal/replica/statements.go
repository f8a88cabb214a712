package replica

import (
	"fmt"
	"strings"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/restore"
)

// language is how one product and version says things.
type language struct {
	replicas string // who follows this server
	reset    string // forget the relay logs of a channel, not its account; %s is the channel
	change   string // %[1]s is the channel, %[2]s the settings
	start    string
	word     string // SOURCE_HOST or MASTER_HOST
	named    func(string) string
	position string // the own position

	startApplier, stopApplier string
}

// speak is the one table of products and versions.
func speak(product, version string) language {
	v := restore.ParseVersion(version)
	switch {
	case isMariaDB(product):
		return language{"SHOW SLAVE HOSTS", "RESET SLAVE %s", "CHANGE MASTER %[1]s TO %[2]s", "START SLAVE %s", "MASTER", inFront, "SHOW MASTER STATUS", "START SLAVE %s SQL_THREAD", "STOP SLAVE %s SQL_THREAD"}
	case v.AtLeast(8, 4, 0):
		return language{"SHOW REPLICAS", "RESET REPLICA %s", "CHANGE REPLICATION SOURCE TO %[2]s %[1]s", "START REPLICA %s", "SOURCE", atTheEnd, "SHOW BINARY LOG STATUS", "START REPLICA SQL_THREAD %s", "STOP REPLICA SQL_THREAD %s"}
	case v.AtLeast(8, 0, 23):
		return language{"SHOW REPLICAS", "RESET REPLICA %s", "CHANGE REPLICATION SOURCE TO %[2]s %[1]s", "START REPLICA %s", "SOURCE", atTheEnd, "SHOW MASTER STATUS", "START REPLICA SQL_THREAD %s", "STOP REPLICA SQL_THREAD %s"}
	case v.AtLeast(5, 7, 6):
		return language{"SHOW SLAVE HOSTS", "RESET SLAVE %s", "CHANGE MASTER TO %[2]s %[1]s", "START SLAVE %s", "MASTER", atTheEnd, "SHOW MASTER STATUS", "START SLAVE SQL_THREAD %s", "STOP SLAVE SQL_THREAD %s"}
	}
	return language{"SHOW SLAVE HOSTS", "RESET SLAVE %s", "CHANGE MASTER TO %[2]s %[1]s", "START SLAVE %s", "MASTER", nameless, "SHOW MASTER STATUS", "START SLAVE SQL_THREAD %s", "STOP SLAVE SQL_THREAD %s"}
}

func inFront(channel string) string  { return literal(channel) }
func atTheEnd(channel string) string { return "FOR CHANNEL " + literal(channel) }
func nameless(string) string         { return "" } // 5.6 has one channel

// literal is a string in a statement, for a session whose sql_mode is empty.
func literal(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", "''").Replace(s) + "'"
}

// statements are what makes a server that stands still follow a channel, without starting it.
func (c Channel) statements(product, version, form string) []string {
	say := speak(product, version)
	name := say.named(c.Name)
	if form == Keep && c.GTID {
		return nil // the copy knows its source, its position and its relay logs
	}
	var out []string
	if c.Known && form != Keep { // a drained relay log goes with the change
		out = append(out, fmt.Sprintf(say.reset, name))
	}
	if c.Set != "" {
		out = append(out, "SET GLOBAL gtid_slave_pos = "+literal(c.Set))
	}
	return append(out, fmt.Sprintf(say.change, name, strings.Join(c.settings(say.word, product, version), ", ")))
}

// settings come in one statement: a new host or port alone would make the server forget the coordinates.
func (c Channel) settings(word, product, version string) []string {
	out := []string{
		fmt.Sprintf("%s_HOST = %s", word, literal(c.Host)),
		fmt.Sprintf("%s_PORT = %d", word, c.Port),
	}
	if !c.Known || c.Given {
		out = append(out, fmt.Sprintf("%s_USER = %s", word, literal(c.Login.User)), fmt.Sprintf("%s_PASSWORD = %s", word, literal(c.Login.Password)))
	}
	if !c.Known {
		out = append(out, c.secure(word, product, version)...)
	}
	mariadb := isMariaDB(product)
	switch {
	case c.GTID && mariadb:
		return append(out, word+"_USE_GTID = slave_pos")
	case c.GTID:
		return append(out, word+"_AUTO_POSITION = 1")
	case mariadb:
		out = append(out, word+"_USE_GTID = no")
	case restore.ParseVersion(version).AtLeast(5, 6, 5):
		out = append(out, word+"_AUTO_POSITION = 0")
	}
	return append(out, fmt.Sprintf("%s_LOG_FILE = %s", word, literal(c.File)), fmt.Sprintf("%s_LOG_POS = %d", word, c.Offset))
}

// secure makes a new channel as safe as the source allows. A channel that the copy knows keeps what it has.
func (c Channel) secure(word, product, version string) []string {
	v := restore.ParseVersion(version)
	switch {
	case c.TLS && isMariaDB(product):
		// its certificate cannot be checked without a CA, which newer versions do unless told
		return []string{word + "_SSL = 1", word + "_SSL_VERIFY_SERVER_CERT = 0"}
	case c.TLS:
		return []string{word + "_SSL = 1"}
	case isMariaDB(product):
		return []string{word + "_SSL = 0"}
	case v.AtLeast(8, 0, 23):
		return []string{"GET_SOURCE_PUBLIC_KEY = 1"} // caching_sha2_password needs the key or TLS
	case v.AtLeast(8, 0, 4):
		return []string{"GET_MASTER_PUBLIC_KEY = 1"}
	}
	return nil
}

func productOf(version string) string {
	if strings.Contains(strings.ToLower(version), "mariadb") {
		return database.MariaDB
	}
	return database.MySQL
}

func dashes(option string) string { return strings.ReplaceAll(option, "_", "-") }
