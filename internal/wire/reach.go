package wire

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/holdstill/holdstill/internal/config"
	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/database/optionfile"
)

// serverGroups are those of an option file that any of the products may read for its socket; the versioned ones are found
// once the version is known, by the makes.
var serverGroups = []string{"client-server", "server", "mysqld", "mariadb", "mariadbd"}

const usualPort = "3306"

// usualSockets are where Debian, Red Hat and the upstream packages put it.
var usualSockets = []string{"/run/mysqld/mysqld.sock", "/var/run/mysqld/mysqld.sock", "/var/lib/mysql/mysql.sock", "/tmp/mysql.sock"}

// Endpoint tells how an instance is reached: as configured, else over the socket that its option files name, else over the
// usual one.
func Endpoint(i *config.Instance) (database.Endpoint, error) {
	e := database.Endpoint{Socket: i.Socket, Host: i.Host, Port: i.Port, User: i.User, OptionFile: i.ClientOptionFile}
	if e.Socket != "" || e.Host != "" {
		return e, nil
	}
	files := optionfile.ServerFiles(nil)
	if i.OptionFile != "" {
		files.Only = i.OptionFile
	}
	var err error
	e.Socket, _, err = listens(files, nil)
	return e, err
}

// listens tells the socket and the port that a server has by its option files and arguments.
func listens(files optionfile.Files, arguments []string) (socket, port string, err error) {
	read, err := optionfile.ReadServer(files, serverGroups)
	if err != nil {
		return "", "", err
	}
	options := map[string]string{"port": usualPort}
	for _, o := range optionfile.Merge(read, arguments) {
		options[o.Name] = o.Value
	}
	socket = options["socket"]
	switch {
	case socket == "":
		socket = usualSocket()
	case !filepath.IsAbs(socket):
		socket = filepath.Join(options["datadir"], socket)
	}
	return socket, options["port"], nil
}

func usualSocket() string {
	for _, usual := range usualSockets {
		if info, err := os.Stat(usual); err == nil && info.Mode()&os.ModeSocket != 0 {
			return usual
		}
	}
	return usualSockets[0]
}

// Local is the name of the server that listens on the usual port, where nothing is configured.
const Local = "local"

// Discover makes a configuration of the servers that run on this machine: the one with the usual port is "local", others are
// "local-PORT". So a name does not depend on what else runs. Servers whose socket we cannot see (in a container) are
// left out.
func Discover(context.Context) (*config.Config, error) {
	c := &config.Config{Instances: map[string]*config.Instance{}}
	for pid, arguments := range serverProcesses() {
		socket, port, err := listens(optionfile.ServerFiles(arguments), arguments)
		if err != nil {
			continue
		}
		if _, err := os.Stat(socket); err != nil {
			continue
		}
		name := Local
		if port != usualPort {
			name += "-" + port
		}
		if c.Instances[name] != nil { // two servers in two network namespaces
			name += "-" + strconv.Itoa(pid)
		}
		i := config.Default(name)
		i.Socket = socket
		c.Instances[name] = i
	}
	return c, nil
}

// serverProcesses finds the running servers by the names of their programs.
func serverProcesses() map[int][]string {
	out := map[int][]string{}
	comms, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, comm := range comms {
		name, err := os.ReadFile(comm)
		if n := strings.TrimSpace(string(name)); err != nil || n != "mysqld" && n != "mariadbd" {
			continue
		}
		line, err := os.ReadFile(filepath.Join(filepath.Dir(comm), "cmdline"))
		pid, atoi := strconv.Atoi(filepath.Base(filepath.Dir(comm)))
		if err == nil && atoi == nil && len(line) > 0 {
			out[pid] = strings.Split(strings.TrimRight(string(line), "\x00"), "\x00")
		}
	}
	return out
}
