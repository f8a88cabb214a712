package optionfile

import (
	"fmt"
	"os"
	"strconv"
)

// Login is what a client option file says about connecting. It is never printed: String hides it.
type Login struct {
	User, Password string
	Socket, Host   string
	Port           int
	CA             string
	Certificate    string
	Key            string
}

// String keeps a password out of logs even if somebody prints the whole value.
func (l Login) String() string { return fmt.Sprintf("login of %q", l.User) }

// GoString does the same for %#v.
func (l Login) GoString() string { return l.String() }

// ReadLogin reads the client groups of an option file. A file that others can read is refused when it holds a password.
func ReadLogin(path string) (Login, error) {
	options, err := parseFile(path, clientGroups)
	if err != nil {
		return Login{}, fmt.Errorf("cannot read the client option file %s: %w", path, err)
	}
	var l Login
	for _, f := range options {
		for _, o := range f.Options {
			if err := l.set(o.Name, o.Value); err != nil {
				return Login{}, fmt.Errorf("cannot read the client option file %s: %w", path, err)
			}
		}
	}
	if l.Password != "" {
		if err := private(path); err != nil {
			return Login{}, err
		}
	}
	return l, nil
}

func (l *Login) set(name, value string) error {
	switch name {
	case "user":
		l.User = value
	case "password":
		l.Password = value
	case "socket":
		l.Socket = value
	case "host":
		l.Host = value
	case "port":
		n, err := strconv.Atoi(value)
		if err != nil {
			return fmt.Errorf("the port %q is no number", value)
		}
		l.Port = n
	case "ssl_ca":
		l.CA = value
	case "ssl_cert":
		l.Certificate = value
	case "ssl_key":
		l.Key = value
	}
	return nil
}

func private(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o007 != 0 {
		return fmt.Errorf("cannot use the client option file %s: it holds a password and others can read it (chmod 600 it)", path)
	}
	return nil
}
