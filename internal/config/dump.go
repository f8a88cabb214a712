package config

import (
	"fmt"
	"path/filepath"

	"github.com/holdstill/holdstill/internal/dumpfile"
	"github.com/holdstill/holdstill/internal/schema"
)

// Dump is how backup --dump makes the dumps of an instance's points. The word live in its place is Live and nothing else.
type Dump struct {
	Live        bool     `yaml:"live"`         // from the running server, beside the point, and not of it
	Directory   string   `yaml:"directory"`    // each dump gets a directory in it, by the point's id, or by its own moment; see DumpsOf
	Databases   []string `yaml:"databases"`    // DB or DB.TABLE; left out: everything
	Threads     int      `yaml:"threads"`      // tables at once; left out: by the processors, 2 to 4
	Compression string   `yaml:"compression"`  // gzip, zstd or none
	NoChecksums bool     `yaml:"no_checksums"` // only count the rows
	Tool        string   `yaml:"tool"`         // the dump tool; left out: the one beside the server's program
	ScratchDir  string   `yaml:"scratch_dir"`  // where the scratch server's directory is made; left out: /var/tmp

	word string // what stands in place of the keys
}

// maxThreads keeps a slip of the finger from asking a server for a thousand connections.
const maxThreads = 64

// UnmarshalYAML reads "dump: live", or the keys. This form of it is the one whose decoder still refuses unknown keys.
func (d *Dump) UnmarshalYAML(decode func(any) error) error {
	type keys Dump
	var word string
	if decode(&word) != nil {
		return decode((*keys)(d))
	}
	*d = Dump{Live: word == "live", word: word}
	return nil
}

// faults are those of the section; their keys are below dump.
func (d Dump) faults() []fault {
	var out []fault
	if d.word != "" && !d.Live {
		out = append(out, fault{"", fmt.Sprintf("%q means nothing: write live, or keys such as directory", d.word)})
	}
	if d.Live && d.Threads > 1 {
		out = append(out, fault{"threads", "a live dump is one transaction, so one process: leave the threads out"})
	}
	if d.Live && d.ScratchDir != "" {
		out = append(out, fault{"scratch_dir", "a live dump has no scratch server: leave the scratch_dir out"})
	}
	for key, path := range map[string]string{"directory": d.Directory, "tool": d.Tool, "scratch_dir": d.ScratchDir} {
		if path != "" && !filepath.IsAbs(path) {
			out = append(out, fault{key, "the " + key + " must be an absolute path"})
		}
	}
	if d.Threads < 0 || d.Threads > maxThreads {
		out = append(out, fault{"threads", "the threads must be 1 to 64"})
	}
	if _, err := dumpfile.ParseCompression(d.Compression); err != nil {
		out = append(out, fault{"compression", err.Error()})
	}
	for _, name := range d.Databases {
		n, err := schema.ParseName(name)
		if err == nil && schema.Own(n.Database) {
			err = fmt.Errorf("%s is the server's own database", n.Database)
		}
		if err != nil {
			out = append(out, fault{"databases", err.Error()})
		}
	}
	return out
}
