package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func written(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRepository(t *testing.T) {
	keys, password := written(t, "[default]\n", 0o600), written(t, "x\n", 0o400)
	c, err := load(t, fmt.Sprintf(`repository:
  url: s3://bucket/a/b
  endpoint: minio.example.org:9000
  region: eu-1
  plain_http: true
  credentials_file: %s
  password_file: %s
  upload_limit: 50MiB
  download_limit: 1MB/s
  object_lock: {mode: governance, period: 720h}
`, keys, password))
	if err != nil {
		t.Fatal(err)
	}
	want := Repository{URL: "s3://bucket/a/b", Endpoint: "minio.example.org:9000", Region: "eu-1", PlainHTTP: true, CredentialsFile: keys,
		PasswordFile: password, UploadLimit: 50 << 20, DownloadLimit: 1_000_000, ObjectLock: ObjectLock{"governance", Duration(720 * time.Hour)}}
	if *c.Repository != want {
		t.Errorf("%+v", *c.Repository)
	}
}

func TestRepositoryPlaces(t *testing.T) {
	key := written(t, "key", 0o600)
	for _, good := range []string{"/srv/backups", "file:///srv/backups", "s3://bucket", "gs://bucket/prefix", "azure://container/p\n  credentials_file: " + key,
		"sftp://me@host/srv\n  credentials_file: " + key, "sftp://me@[::1]:2222/srv\n  credentials_file: " + key + "\n  known_hosts_file: " + key} {
		if _, err := load(t, "repository:\n  url: "+good+"\n"); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
}

func TestRepositoryFaults(t *testing.T) {
	open, key := written(t, "key", 0o644), written(t, "key", 0o600)
	for text, want := range map[string]string{
		"plain_http: false":                                "line 1: repository: say where the repository is",
		"url: backups":                                     "line 2: repository: the url is no place for a repository",
		"url: ftp://host/x":                                "write /srv/backups, s3://",
		"url: /":                                           "a directory is written as",
		"url: file://host/srv":                             "a directory is written as",
		"url: s3:///prefix":                                "names no place",
		"url: s3://key:word@bucket":                        "has a password in it",
		"url: azure://c/p?sig=word":                        "has a ? or #",
		"url: s3://bucket:9000/p":                          "has a user or a port",
		"url: azure://c":                                   "line 2: repository: azure wants a credentials_file",
		"url: sftp://me@host/srv":                          "sftp wants a credentials_file",
		"url: sftp://host/srv":                             "wants a user, a host and a path",
		"url: sftp://me@host":                              "wants a user, a host and a path",
		"url: /srv\n  region: eu":                          "line 3: repository: region is for s3",
		"url: /srv\n  endpoint: h":                         "line 3: repository: endpoint is for s3 and azure",
		"url: gs://b\n  plain_http: true":                  "plain_http is for s3 and azure",
		"url: s3://b\n  endpoint: https://h":               "write the endpoint as HOST",
		"url: s3://b\n  known_hosts_file: " + key:          "known_hosts_file is for sftp",
		"url: /srv\n  credentials_file: " + key:            "not for a directory",
		"url: s3://b\n  credentials_file: " + open:         "line 3: repository: " + open + " can be read by others",
		"url: s3://b\n  credentials_file: /nowhere/at/all": "no such file",
		"url: s3://b\n  credentials_file: keys":            "must be an absolute path",
		"url: /srv\n  password_file: " + open:              "chmod go-rwx",
		"url: /srv\n  password_file: " + key + "\n  password_command: pass":      "line 4: repository: give one of",
		"url: /srv\n  password_credential: ../x":                                 "name of a credential",
		"url: /srv\n  upload_limit: fast":                                        `line 3: "fast" is no rate`,
		"url: /srv\n  download_limit: 3":                                         "is no rate",
		"url: /srv\n  object_lock: {mode: governance, period: 720h}":             "line 3: repository: object_lock is for s3, azure and gs",
		"url: s3://b\n  object_lock: {mode: sure, period: 720h}":                 "governance or compliance",
		"url: s3://b\n  object_lock: {mode: compliance, period: 1h}":             "a day at least",
		"url: s3://b\n  object_lock: {mode: compliance}":                         "a day at least",
		"url: s3://b\n  password: word":                                          "field password not found",
		"url: sftp://h/p\n  upload_limit: x\n  region: y\n  object_lock: {p: q}": "field p not found",
	} {
		_, err := load(t, "repository:\n  "+text+"\n")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
		if err != nil && strings.Contains(err.Error(), "word@") {
			t.Errorf("the password is told: %v", err)
		}
	}
}

// TestRepositoryFaultsAtOnce wants all of them in one message.
func TestRepositoryFaultsAtOnce(t *testing.T) {
	_, err := load(t, "instances:\n  \"bad name\":\nrepository:\n  url: s3://b\n  endpoint: http://h\n  known_hosts_file: k\n  upload_limit: fast\n")
	for _, want := range []string{"line 2:", "line 5:", "line 6: repository: known_hosts_file is", "line 6: repository: \"k\" must", "line 7:"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
}

func TestKnownRepository(t *testing.T) {
	d := Dirs{State: t.TempDir()}
	if r, err := d.KnownRepository(); r != nil || err != nil {
		t.Fatal(r, err)
	}
	want := Repository{URL: "s3://b", PasswordCommand: "pass show x", UploadLimit: 5 << 20, ObjectLock: ObjectLock{"governance", Duration(48 * time.Hour)}}
	if err := d.KnowRepository(&want); err != nil {
		t.Fatal(err)
	}
	if r, err := d.KnownRepository(); err != nil || *r != want {
		t.Fatalf("%+v %v", r, err)
	}
	if info, err := os.Stat(d.location()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	if err := os.Chmod(d.location(), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := d.KnownRepository(); err == nil {
		t.Error("others could write a command into it")
	}
	for range 2 {
		if err := d.KnowRepository(nil); err != nil {
			t.Fatal(err)
		}
	}
	if r, err := d.KnownRepository(); r != nil || err != nil {
		t.Fatal(r, err)
	}
}

func TestFlagValues(t *testing.T) {
	var l ObjectLock
	for _, bad := range []string{"", "governance", "governance:1h", "x:720h", "compliance:soon"} {
		if l.Set(bad) == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	if err := l.Set("compliance:720h"); err != nil || l.Mode != "compliance" || l.String() != "compliance:720h0m0s" {
		t.Errorf("%+v %s %v", l, l.String(), err)
	}
	var r Rate
	if r.String() != "" || r.Set("50MiB") != nil || r != 50<<20 || r.Set("-1") == nil || r != 50<<20 {
		t.Error(r)
	}
}
