package kopia

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/kopia/kopia/repo/blob"
	"github.com/kopia/kopia/repo/blob/azure"
	"github.com/kopia/kopia/repo/blob/filesystem"
	"github.com/kopia/kopia/repo/blob/gcs"
	"github.com/kopia/kopia/repo/blob/s3"
	"github.com/kopia/kopia/repo/blob/sftp"
	"github.com/kopia/kopia/repo/blob/sharded"
	"gopkg.in/ini.v1"
)

// Location is a place for a repository. URL is one of
//
//	/srv/backups            a directory, also file:///srv/backups
//	s3://BUCKET/PREFIX      S3 or what speaks it: Endpoint, Region
//	azure://CONTAINER/PREFIX
//	gs://BUCKET/PREFIX
//	sftp://USER@HOST:PORT/PATH
type Location struct {
	URL      string
	Endpoint string // HOST[:PORT] of S3 or Azure, if not the public service
	Region   string
	Plain    bool // HTTP instead of HTTPS
	// CredentialsFile has what the store wants to see: S3 and Azure an ini file (aws_access_key_id, aws_secret_access_key,
	// aws_session_token; account, key or sas_token), Google its JSON key, SFTP the private key. S3 without one uses the machine's role.
	CredentialsFile string
	KnownHostsFile  string // SFTP
	Lock            Lock   // of a new repository
}

// Lock makes the store refuse to change or delete what was written, for a time; the store must have object lock switched on.
type Lock struct {
	Mode   string // governance or compliance; "": none
	Period time.Duration
}

func (l Lock) mode() blob.RetentionMode { return blob.RetentionMode(strings.ToUpper(l.Mode)) }

// String is the location without secrets.
func (l Location) String() string { return l.URL }

// parse splits the URL; a path is a directory.
func (l Location) parse() (*url.URL, error) {
	if filepath.IsAbs(l.URL) {
		return &url.URL{Scheme: "file", Path: l.URL}, nil
	}
	u, err := url.Parse(l.URL)
	if err != nil || u.Scheme == "" {
		return nil, fmt.Errorf("%q is no place for a repository: write a directory (/srv/backups), s3://BUCKET/PREFIX, azure://CONTAINER/PREFIX, gs://BUCKET/PREFIX or sftp://USER@HOST/PATH", l.URL)
	}
	if u.User != nil {
		if _, has := u.User.Password(); has {
			return nil, errors.New("the URL of the repository has a password in it: use a credentials file, which others cannot read")
		}
	}
	return u, nil
}

// prefix is what is put before every object's name: "" or a path that ends in a slash.
func prefix(u *url.URL) string {
	p := strings.Trim(u.Path, "/")
	if p == "" {
		return ""
	}
	return p + "/"
}

// layout is how a new repository's blobs are spread over directories; kopia would choose another one for a place that it opens before it
// is a repository.
var layout = sharded.Options{DirectoryShards: []int{1, 3}}

// Check finds the faults that show without the network.
func (l Location) Check() error {
	_, err := l.inner()
	return err
}

// inner is the connection as kopia names it.
func (l Location) inner() (*blob.ConnectionInfo, error) {
	u, err := l.parse()
	if err != nil {
		return nil, err
	}
	switch u.Scheme {
	case "file":
		return &blob.ConnectionInfo{Type: "filesystem", Config: &filesystem.Options{Path: filepath.Clean(u.Path), FileMode: 0o600, DirectoryMode: 0o700, Options: layout}}, nil
	case "s3":
		return l.s3(u)
	case "azure":
		return l.azure(u)
	case "gs":
		return &blob.ConnectionInfo{Type: "gcs", Config: &gcs.Options{BucketName: u.Host, Prefix: prefix(u), ServiceAccountCredentialsFile: l.CredentialsFile}}, nil
	case "sftp":
		return l.sftp(u)
	}
	return nil, fmt.Errorf("%q is no kind of store: use a directory, s3, azure, gs or sftp", u.Scheme)
}

func (l Location) s3(u *url.URL) (*blob.ConnectionInfo, error) {
	keys, err := l.credentials("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
	if err != nil {
		return nil, err
	}
	o := &s3.Options{BucketName: u.Host, Prefix: prefix(u), Endpoint: l.Endpoint, Region: l.Region, DoNotUseTLS: l.Plain,
		AccessKeyID: keys[0], SecretAccessKey: keys[1], SessionToken: keys[2]}
	if o.Endpoint == "" {
		o.Endpoint = "s3.amazonaws.com"
	}
	if keys[0] == "" {
		o.AccessKeyID, o.SecretAccessKey, o.SessionToken = os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY"), os.Getenv("AWS_SESSION_TOKEN")
	}
	return &blob.ConnectionInfo{Type: "s3", Config: o}, nil
}

func (l Location) azure(u *url.URL) (*blob.ConnectionInfo, error) {
	keys, err := l.credentials("account", "key", "sas_token")
	if err != nil {
		return nil, err
	}
	if keys[0] == "" {
		return nil, errors.New("azure wants a credentials file with account, and key or sas_token")
	}
	return &blob.ConnectionInfo{Type: "azureBlob", Config: &azure.Options{Container: u.Host, Prefix: prefix(u), StorageAccount: keys[0],
		StorageKey: keys[1], SASToken: keys[2], StorageDomain: l.Endpoint, DoNotUseTLS: l.Plain}}, nil
}

func (l Location) sftp(u *url.URL) (*blob.ConnectionInfo, error) {
	port := 22
	if p := u.Port(); p != "" {
		var err error
		if port, err = strconv.Atoi(p); err != nil {
			return nil, fmt.Errorf("%q is no port", p)
		}
	}
	if l.CredentialsFile == "" {
		return nil, errors.New("sftp wants the private key's file as credentials file")
	}
	return &blob.ConnectionInfo{Type: "sftp", Config: &sftp.Options{Path: u.Path, Host: u.Hostname(), Port: port, Username: u.User.Username(),
		Keyfile: l.CredentialsFile, KnownHostsFile: l.KnownHostsFile, Options: layout}}, nil
}

// credentials reads keys from the ini file, from whatever section; those that are missing are "".
func (l Location) credentials(names ...string) ([]string, error) {
	out := make([]string, len(names))
	if l.CredentialsFile == "" {
		return out, nil
	}
	file, err := ini.LoadSources(ini.LoadOptions{IgnoreInlineComment: true}, l.CredentialsFile)
	if err != nil {
		return nil, fmt.Errorf("cannot read the credentials: %w", err)
	}
	found := false
	for _, section := range file.Sections() {
		for i, name := range names {
			if section.HasKey(name) {
				out[i], found = section.Key(name).String(), true
			}
		}
	}
	if !found {
		return nil, fmt.Errorf("the credentials file %s has none of %s", l.CredentialsFile, strings.Join(names, ", "))
	}
	return out, nil
}
