// Package store runs real stores for the tests and benchmarks of a backup repository, on 127.0.0.1: S3, Azure Blob, Google Cloud
// Storage and SFTP, a proxy that puts faults between them and a client, and a file system that is soon full.
//
//	e := store.S3(t, dir)          // running, with an empty bucket; gone with the test, its log shown if that fails
//	p := store.Through(t, e)       // the same store behind a proxy
//	p.Set(store.Faults{Status: 503, First: 2})
//	client := connect(p.Endpoint())
//
// Each store is a child of this process, and dies with it, also when that is killed. Its data, keys and log lie below the directory
// that the caller gives, which the caller removes. The programs come from scripts/fetch-stores.sh; sshd is the system's.
//
// How kopia's own clients (github.com/kopia/kopia/repo/blob) are told of an Endpoint e:
//
//	s3.Options{Endpoint: e.Addr, BucketName: e.Bucket, AccessKeyID: e.User, SecretAccessKey: e.Secret, Region: e.Region, DoNotUseTLS: true}
//	azure.Options{StorageAccount: e.User, StorageKey: e.Secret, StorageDomain: e.Domain, Container: e.Bucket, DoNotUseTLS: true}
//	gcs.Options{BucketName: e.Bucket}, with e.Env in the environment of the process
//	sftp.Options{Host: e.Host, Port: e.Port, Username: e.User, Keyfile: e.KeyFile, KnownHostsFile: e.KnownHosts, Path: e.Path}
package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// Kind is what a store speaks.
type Kind string

// The kinds of stores.
const (
	KindS3     Kind = "s3"
	KindAzure  Kind = "azure"
	KindGoogle Kind = "google"
	KindSFTP   Kind = "sftp"
)

// Kinds are all of them.
var Kinds = []Kind{KindS3, KindAzure, KindGoogle, KindSFTP}

// bucket is the bucket or container that every store begins with.
const bucket = "points"

// Endpoint is a store, and what a client needs to use it.
type Endpoint struct {
	Kind Kind
	Addr string // host:port
	Host string
	Port int
	URL  string // of the service; empty for SFTP

	Bucket string // the bucket or container, which exists
	User   string // the access key, account or login
	Secret string // the secret key or account key; nothing for SFTP and Google
	Region string // of S3

	// Domain is what kopia's azure.Options want as StorageDomain. They make the host from account and domain, so that the account is
	// called "127" and the domain "0.0.1:PORT/127": together the address of the service, and no name that somebody would have to resolve.
	Domain string
	Env    []string // what a client has to have in its environment (Google)

	KeyFile, KnownHosts string // SFTP
	Path                string // SFTP: the directory, which exists

	Data string // where its objects lie on this machine

	process *process
}

// Open starts a store with its data below dir, which is made if it is missing. Close ends it.
func Open(kind Kind, dir string) (*Endpoint, error) {
	e, err := open(kind, dir)
	if err != nil {
		return nil, fmt.Errorf("cannot start the %s store in %s: %w", kind, dir, err)
	}
	return e, nil
}

// maker prepares what a store needs in dir, and gives its command; made is called when it answers for the first time.
type maker struct {
	prepare func(e *Endpoint, dir string) (*process, error)
	made    func(ctx context.Context, e *Endpoint) error
}

func open(kind Kind, dir string) (*Endpoint, error) {
	m, known := map[Kind]maker{
		KindS3:     {prepareS3, func(ctx context.Context, e *Endpoint) error { return e.MakeBucket(ctx, bucket, false) }},
		KindAzure:  {prepareAzure, makeContainer},
		KindGoogle: {prepareGoogle, makeGoogleBucket},
		KindSFTP:   {prepareSFTP, func(context.Context, *Endpoint) error { return nil }},
	}[kind]
	if !known {
		return nil, fmt.Errorf("there are %v", Kinds)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	e := &Endpoint{Kind: kind, Bucket: bucket, Data: filepath.Join(dir, string(kind), "data")}
	if err := os.MkdirAll(e.Data, 0o700); err != nil {
		return nil, err
	}
	if err := e.choosePort(); err != nil {
		return nil, err
	}
	if e.process, err = m.prepare(e, filepath.Dir(e.Data)); err != nil {
		return nil, err
	}
	e.process.addr, e.process.log = e.Addr, filepath.Join(filepath.Dir(e.Data), "log")
	return e, e.first(m)
}

// first starts the store for the first time. One that cannot be used is not left running.
func (e *Endpoint) first(m maker) error {
	ctx, cancel := context.WithTimeout(context.Background(), answers)
	defer cancel()
	err := e.process.start(ctx)
	if err == nil {
		err = m.made(ctx, e)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("%w\nits log: %s", err, e.process.tail()), e.Close())
	}
	return nil
}

// choosePort takes a free port below those that the kernel gives to connections: a store that is stopped must find its port again.
func (e *Endpoint) choosePort() error {
	var last error
	for i := range 200 {
		port := 20000 + (os.Getpid()*61+int(time.Now().UnixNano()/1000)+i*7)%10000
		e.at("127.0.0.1", port)
		l, err := net.Listen("tcp", e.Addr)
		if err == nil {
			return l.Close()
		}
		last = err
	}
	return fmt.Errorf("found no free port between 20000 and 30000: %w", last)
}

// at sets the address, and all that has it in it.
func (e *Endpoint) at(host string, port int) {
	e.Host, e.Port = host, port
	e.Addr = net.JoinHostPort(host, strconv.Itoa(port))
	switch e.Kind {
	case KindS3, KindGoogle:
		e.URL = "http://" + e.Addr
	case KindAzure:
		e.URL = "http://" + e.Addr + "/" + azureAccount
		e.Domain = e.Addr[len(azureAccount)+1:] + "/" + azureAccount
	}
	if e.Kind == KindGoogle {
		e.Env = []string{"STORAGE_EMULATOR_HOST=" + e.Addr}
	}
}

// Stop makes the store go away, in good order: what it had acknowledged it has when it comes back. Its connections are cut.
func (e *Endpoint) Stop() error { return e.verb("stop", e.process.stop()) }

// Kill makes it go away at once, as kill -9 does. Azurite may then have forgotten the last seconds: it writes its lists every five.
func (e *Endpoint) Kill() error { return e.verb("kill", e.process.kill()) }

// Start brings it back at the same address, with the same data, and returns when it answers.
func (e *Endpoint) Start() error {
	ctx, cancel := context.WithTimeout(context.Background(), answers)
	defer cancel()
	return e.verb("start", e.process.start(ctx))
}

// Close ends the store. Its data stay where they are.
func (e *Endpoint) Close() error { return e.Stop() }

// Log is the last of what the store said.
func (e *Endpoint) Log() string { return e.process.tail() }

func (e *Endpoint) verb(what string, err error) error {
	if err != nil {
		return fmt.Errorf("cannot %s the %s store at %s: %w", what, e.Kind, e.Addr, err)
	}
	return nil
}
