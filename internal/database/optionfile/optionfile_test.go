package optionfile

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdstill/holdstill/internal/database"
)

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// flat shows what was read: "file group.name=value", and "name!" for a bare one.
func flat(files []database.OptionFile) string {
	var out []string
	for _, f := range files {
		for _, o := range f.Options {
			out = append(out, filepath.Base(f.Path)+" "+show(o))
		}
	}
	return strings.Join(out, "\n")
}

func show(o database.Option) string {
	if o.Bare {
		return o.Group + "." + o.Name + "!"
	}
	return fmt.Sprintf("%s.%s=%s", o.Group, o.Name, o.Value)
}

func TestReadServer(t *testing.T) {
	dir := t.TempDir()
	main := write(t, dir, "my.cnf", `
# a comment
; another
lost = outside of any group
[mysqld]
log-bin
skip-name-resolve
datadir = "/srv/my data"   # behind a value
socket='/run/it\'s.sock'
init-connect = SET NAMES utf8 # cut
tmpdir=/a\sb\\c
loose_x-y = 1
!includedir conf.d
port=3307
  !include sub/extra.cnf
[client]
password = nobody sees this
[mysqld-8.0]
old = 1
[mariadb-10.11]
new = "a # b"
report-password = hunter2
file_key = 4711
ssl-key = /etc/ssl/key.pem
old-passwords = 0
`)
	write(t, dir, "conf.d/b.cnf", "[mysqld]\nport=2\n")
	write(t, dir, "conf.d/a.cnf", "[mysqld]\nport=1\n")
	write(t, dir, "conf.d/a.conf", "[mysqld]\nport=never\n")
	write(t, dir, "sub/extra.cnf", "[mysqld]\nport=3\n!include deeper.cnf\n")
	write(t, dir, "sub/deeper.cnf", "[mysqld]\nport=4\n")
	open := write(t, dir, "conf.d/c.cnf", "[mysqld]\nport=written by anybody\n")
	if err := os.Chmod(open, 0o666); err != nil {
		t.Fatal(err)
	}
	files, err := ReadServer(Files{Only: main}, []string{"mysqld", "mariadb-10.11"})
	if err != nil {
		t.Fatal(err)
	}
	want := `my.cnf mysqld.log_bin!
my.cnf mysqld.skip_name_resolve!
my.cnf mysqld.datadir=/srv/my data
my.cnf mysqld.socket=/run/it's.sock
my.cnf mysqld.init_connect=SET NAMES utf8
my.cnf mysqld.tmpdir=/a b\c
my.cnf mysqld.loose_x_y=1
a.cnf mysqld.port=1
b.cnf mysqld.port=2
my.cnf mysqld.port=3307
extra.cnf mysqld.port=3
deeper.cnf mysqld.port=4
my.cnf mariadb-10.11.new=a # b
my.cnf mariadb-10.11.report_password=
my.cnf mariadb-10.11.file_key=
my.cnf mariadb-10.11.ssl_key=/etc/ssl/key.pem
my.cnf mariadb-10.11.old_passwords=0`
	if got := flat(files); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestIncludesThatNeverEnd(t *testing.T) {
	dir := t.TempDir()
	path := write(t, dir, "a.cnf", "!include a.cnf\n")
	if _, err := ReadServer(Files{Only: path}, []string{"mysqld"}); err == nil || !strings.Contains(err.Error(), "too deep") {
		t.Errorf("got %v", err)
	}
}

func TestServerFiles(t *testing.T) {
	for _, test := range []struct {
		arguments string
		want      Files
		paths     string
	}{
		{"mysqld", Files{}, "/etc/my.cnf /etc/mysql/my.cnf /usr/local/mysql/etc/my.cnf /usr/etc/my.cnf /root/.my.cnf"},
		{"mysqld --defaults-file=/x --user=y", Files{Only: "/x"}, "/x"},
		{"mysqld --defaults-extra-file=/x --defaults-group-suffix=-2", Files{Extra: "/x", Suffix: "-2"}, "/etc/my.cnf /etc/mysql/my.cnf /usr/local/mysql/etc/my.cnf /usr/etc/my.cnf /x /root/.my.cnf"},
		{"mysqld --no-defaults", Files{None: true}, ""},
		{"mysqld --user=y --defaults-file=/late", Files{}, "/etc/my.cnf /etc/mysql/my.cnf /usr/local/mysql/etc/my.cnf /usr/etc/my.cnf /root/.my.cnf"},
	} {
		got := ServerFiles(strings.Fields(test.arguments)).In([]string{"HOME=/root", "PATH=/bin"})
		if got.Only != test.want.Only || got.Extra != test.want.Extra || got.Suffix != test.want.Suffix || got.None != test.want.None {
			t.Errorf("%s: got %+v", test.arguments, got)
		}
		if paths := strings.Join(got.paths(), " "); paths != test.paths {
			t.Errorf("%s: reads %s", test.arguments, paths)
		}
	}
}

func TestGroupSuffix(t *testing.T) {
	path := write(t, t.TempDir(), "my.cnf", "[mysqld]\nport=1\n[mysqld-2]\nport=2\n[mysqld-3]\nport=3\n")
	files, err := ReadServer(Files{Only: path, Suffix: "-2"}, []string{"mysqld"})
	if err != nil || flat(files) != "my.cnf mysqld.port=1\nmy.cnf mysqld-2.port=2" {
		t.Errorf("got %s, %v", flat(files), err)
	}
}

func TestMerge(t *testing.T) {
	files := []database.OptionFile{
		{Options: []database.Option{{Name: "port", Value: "1"}, {Name: "log_bin", Bare: true}, {Name: "plugin_load_add", Value: "a"}, {Name: "replicate_do_db", Value: "x"}}},
		{Options: []database.Option{{Name: "port", Value: "2"}, {Name: "plugin_load_add", Value: "b"}, {Name: "loose_datadir", Value: "/x"}, {Name: "replicate_do_db", Value: "y"}}},
	}
	arguments := strings.Fields("mysqld --defaults-file=/x --skip-log-bin --datadir=/y --socket /s -P 4 -umysql --console")
	var out []string
	for _, o := range Merge(files, arguments) {
		out = append(out, strings.TrimPrefix(show(o), "."))
	}
	want := "plugin_load_add=a replicate_do_db=x plugin_load_add=b replicate_do_db=y command line.skip_log_bin! command line.datadir=/y " +
		"command line.socket=/s command line.port=4 command line.user=mysql command line.console!"
	if got := strings.Join(out, " "); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestHideArguments(t *testing.T) {
	got := HideArguments([]string{"mysqld", "--report-password=x", "--master-password", "secret", "--port=1", "--old-passwords=0"})
	if want := "mysqld --port=1 --old-passwords=0"; strings.Join(got, " ") != want {
		t.Errorf("got %q", got)
	}
}

func TestReadLogin(t *testing.T) {
	dir := t.TempDir()
	path := write(t, dir, "client.cnf", "[client]\nuser=a\nport = 3307\npassword=\"p#\\\"'\\\\w\"\n[mysqldump]\nuser=b\n[mysql]\nhost=h\n")
	l, err := ReadLogin(path)
	if err != nil || l.User != "a" || l.Password != `p#"'\w` || l.Host != "h" || l.Port != 3307 {
		t.Errorf("got %q %q %q %d, %v", l.User, l.Password, l.Host, l.Port, err)
	}
	if text := fmt.Sprintf("%v %+v %#v %s", l, l, l, l); strings.Contains(text, "p#") {
		t.Errorf("the password is in %s", text)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadLogin(path); err == nil || strings.Contains(err.Error(), "p#") {
		t.Errorf("a password that everybody can read was taken: %v", err)
	}
	if _, err := ReadLogin(filepath.Join(dir, "none")); err == nil {
		t.Error("no error")
	}
}
