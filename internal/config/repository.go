package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"go.yaml.in/yaml/v3"
)

// Repository is where points are kept off this machine, and what it takes to open it. The same is remembered, as JSON, of a machine
// that was connected without a section in the file: so it holds names of files and commands, never a secret.
type Repository struct {
	URL             string `yaml:"url" json:"url"` // see StoreKinds
	Endpoint        string `yaml:"endpoint" json:"endpoint,omitempty"`
	Region          string `yaml:"region" json:"region,omitempty"`
	PlainHTTP       bool   `yaml:"plain_http" json:"plain_http,omitempty"`
	CredentialsFile string `yaml:"credentials_file" json:"credentials_file,omitempty"`
	KnownHostsFile  string `yaml:"known_hosts_file" json:"known_hosts_file,omitempty"`

	// Where the password comes from: one of them, or none, and then a person is asked.
	PasswordFile       string `yaml:"password_file" json:"password_file,omitempty"`
	PasswordCommand    string `yaml:"password_command" json:"password_command,omitempty"`
	PasswordCredential string `yaml:"password_credential" json:"password_credential,omitempty"` // of systemd

	UploadLimit   Rate       `yaml:"upload_limit" json:"upload_limit,omitempty"`
	DownloadLimit Rate       `yaml:"download_limit" json:"download_limit,omitempty"`
	ObjectLock    ObjectLock `yaml:"object_lock" json:"object_lock,omitzero"`
}

// ObjectLock makes the store of a new repository refuse to change or delete what was written, for a time.
type ObjectLock struct {
	Mode   string   `yaml:"mode" json:"mode"` // governance or compliance
	Period Duration `yaml:"period" json:"period"`
}

// Set reads it from a flag, as governance:720h.
func (l *ObjectLock) Set(text string) error {
	mode, period, _ := strings.Cut(text, ":")
	d, err := time.ParseDuration(period)
	set := ObjectLock{Mode: mode, Period: Duration(d)}
	if err != nil || len(set.faults()) > 0 {
		return fmt.Errorf("%q is no object lock: write it as governance:720h or compliance:720h, a day at least", text)
	}
	*l = set
	return nil
}

func (l *ObjectLock) String() string {
	if *l == (ObjectLock{}) {
		return ""
	}
	return l.Mode + ":" + time.Duration(l.Period).String()
}

// Type is how a flag's help calls it.
func (*ObjectLock) Type() string { return "LOCK" }

// shortestLock is what stores lock by: days.
const shortestLock = 24 * time.Hour

// Rate is in bytes per second, written as "50MiB".
type Rate int64

// UnmarshalYAML reads a rate such as 500KiB, 50MiB or 100MB.
func (r *Rate) UnmarshalYAML(node *yaml.Node) error {
	if err := r.Set(node.Value); err != nil {
		return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: %s", node.Line, err)}}
	}
	return nil
}

// Set reads it from a flag; it makes Rate a flag's value, with String and Type.
func (r *Rate) Set(text string) error {
	n, err := humanize.ParseBytes(strings.TrimSuffix(text, "/s"))
	if err != nil || n < 1<<10 || n > 1<<50 {
		return fmt.Errorf("%q is no rate: write it as 500KiB or 50MiB, a second", text)
	}
	*r = Rate(n)
	return nil
}

func (r *Rate) String() string {
	if *r == 0 {
		return ""
	}
	return humanize.IBytes(uint64(*r))
}

// Type is how a flag's help calls it.
func (*Rate) Type() string { return "RATE" }

// storeKind is what a kind of store wants to be told.
type storeKind struct {
	scheme, example        string
	credentials            bool // it cannot do without
	endpoint, region, lock bool // it can have one
}

var storeKinds = []storeKind{
	{scheme: "file", example: "/srv/backups"},
	{scheme: "s3", example: "s3://BUCKET/PREFIX", endpoint: true, region: true, lock: true},
	{scheme: "azure", example: "azure://CONTAINER/PREFIX", credentials: true, endpoint: true, lock: true},
	{scheme: "gs", example: "gs://BUCKET/PREFIX", lock: true},
	{scheme: "sftp", example: "sftp://USER@HOST:PORT/PATH", credentials: true},
}

// kind finds the kind of store that the URL names; a path is a directory.
func (r *Repository) kind() (storeKind, *url.URL, error) {
	if filepath.IsAbs(r.URL) {
		return storeKinds[0], &url.URL{Scheme: "file", Path: r.URL}, nil
	}
	u, err := url.Parse(r.URL)
	if err == nil {
		for _, k := range storeKinds {
			if k.scheme == u.Scheme {
				return k, u, nil
			}
		}
	}
	var examples []string
	for _, k := range storeKinds {
		examples = append(examples, k.example)
	}
	// what was written is not repeated: a slip of the pen may have put a password into it
	return storeKind{}, nil, fmt.Errorf("the url is no place for a repository: write %s", strings.Join(examples, ", "))
}

// urlFault is what is wrong with the URL itself.
func urlFault(k storeKind, u *url.URL) string {
	_, secret := u.User.Password()
	switch {
	case secret:
		return "the url has a password in it: write a credentials_file, which others cannot read"
	case u.RawQuery != "" || u.Fragment != "":
		return "the url has a ? or # in it"
	case k.scheme == "file" && (u.Host != "" || !filepath.IsAbs(u.Path) || filepath.Clean(u.Path) == "/"):
		return "a directory is written as " + k.example
	case k.scheme != "file" && u.Hostname() == "":
		return "the url names no place: write " + k.example
	case k.scheme == "sftp" && (u.User.Username() == "" || strings.Trim(u.Path, "/") == ""):
		return "the url wants a user, a host and a path: " + k.example
	case k.scheme != "sftp" && (u.User != nil || u.Port() != ""):
		return "the url has a user or a port in it: write " + k.example
	}
	return ""
}

// Check is for what did not come from the file: all faults at once.
func (r *Repository) Check() error {
	var all []error
	for _, f := range r.faults() {
		all = append(all, fmt.Errorf("%s: %s", f.key, f.text))
	}
	return errors.Join(all...)
}

func (r *Repository) faults() []fault {
	if r == nil {
		return nil
	}
	var out []fault
	add := func(key, text string, args ...any) { out = append(out, fault{key, fmt.Sprintf(text, args...)}) }
	out = append(out, r.passwordFaults()...)
	out = append(out, r.fileFaults()...)
	if r.URL == "" {
		add("url", "say where the repository is: url")
		return out
	}
	kind, u, err := r.kind()
	if err != nil {
		add("url", "%s", err)
		return out
	}
	if text := urlFault(kind, u); text != "" {
		add("url", "%s", text)
	}
	return append(out, r.kindFaults(kind)...)
}

// kindFaults are keys that the kind of store does not know, and those that it misses.
func (r *Repository) kindFaults(k storeKind) []fault {
	var out []fault
	refuse := func(key string, given, allowed bool, who string) {
		if given && !allowed {
			out = append(out, fault{key, key + " is for " + who})
		}
	}
	refuse("endpoint", r.Endpoint != "", k.endpoint, "s3 and azure")
	refuse("plain_http", r.PlainHTTP, k.endpoint, "s3 and azure")
	refuse("region", r.Region != "", k.region, "s3")
	refuse("known_hosts_file", r.KnownHostsFile != "", k.scheme == "sftp", "sftp")
	refuse("credentials_file", r.CredentialsFile != "", k.scheme != "file", "stores that one logs in to, not for a directory")
	refuse("object_lock", r.ObjectLock != ObjectLock{}, k.lock, "s3, azure and gs")
	if k.credentials && r.CredentialsFile == "" {
		out = append(out, fault{"url", k.scheme + " wants a credentials_file"})
	}
	if strings.Contains(r.Endpoint, "//") {
		out = append(out, fault{"endpoint", "write the endpoint as HOST or HOST:PORT; plain_http: true is what http:// would be"})
	}
	return append(out, r.ObjectLock.faults()...)
}

func (l ObjectLock) faults() []fault {
	var out []fault
	if l == (ObjectLock{}) {
		return nil
	}
	if !slices.Contains([]string{"governance", "compliance"}, l.Mode) {
		out = append(out, fault{"object_lock", fmt.Sprintf("%q is no mode of an object lock: governance or compliance", l.Mode)})
	}
	if time.Duration(l.Period) < shortestLock {
		out = append(out, fault{"object_lock", "the period of an object lock is a day at least: write it as 720h"})
	}
	return out
}

func (r *Repository) passwordFaults() []fault {
	var given []string
	for _, way := range []struct{ key, value string }{
		{"password_file", r.PasswordFile}, {"password_command", r.PasswordCommand}, {"password_credential", r.PasswordCredential},
	} {
		if way.value != "" {
			given = append(given, way.key)
		}
	}
	var out []fault
	if len(given) > 1 {
		out = append(out, fault{given[1], "give one of password_file, password_command and password_credential"})
	}
	if r.PasswordCredential != "" && filepath.Base(r.PasswordCredential) != r.PasswordCredential || r.PasswordCredential == ".." {
		out = append(out, fault{"password_credential", "it is the name of a credential, not a path"})
	}
	return out
}

// fileFaults are those of the files that are named: they must be there, and secrets be nobody else's.
func (r *Repository) fileFaults() []fault {
	var out []fault
	look := func(key, path, what string, forbidden fs.FileMode) {
		switch {
		case path == "":
		case !filepath.IsAbs(path):
			out = append(out, fault{key, fmt.Sprintf("%q must be an absolute path", path)})
		default:
			for _, text := range ownership(path, what, forbidden) {
				out = append(out, fault{key, text})
			}
		}
	}
	look("credentials_file", r.CredentialsFile, "read", 0o077)
	look("password_file", r.PasswordFile, "read", 0o077)
	look("known_hosts_file", r.KnownHostsFile, "written to", 0o022)
	return out
}

// repositoryFaults are those of the section.
func (c *Config) repositoryFaults() []string {
	var faults []string
	for _, f := range c.Repository.faults() {
		faults = append(faults, fmt.Sprintf("line %d: repository: %s", c.line("repository", f.key), f.text))
	}
	return faults
}

// Repository is where this machine keeps what it knows of its repository.
func (d Dirs) Repository() string { return filepath.Join(d.State, "repository") }
