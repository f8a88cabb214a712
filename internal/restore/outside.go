package restore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/mount"
)

// lookAtOutside finds the server's files that lie beside its data directory.
func (w *World) lookAtOutside(p *catalog.Point) error {
	for _, l := range p.Paths {
		_, in := mount.Below(w.Source.Real, l.Place.Real)
		if in && l.Unit == w.Source.unit || l.Purpose == database.SchemaDir {
			continue // a symlinked schema is found as a link; another volume that is mounted below the data directory is outside
		}
		o := Outside{Purpose: l.Purpose, Real: l.Place.Real}
		if err := w.collect(&o, l, p); err != nil {
			return err
		}
		w.Outside = append(w.Outside, o)
	}
	return nil
}

func (w *World) collect(o *Outside, l catalog.Located, p *catalog.Point) error {
	inside, _ := w.locate(l)
	if inside == "" { // of a log's base name only the directory exists
		l.Place.Real = filepath.Dir(l.Place.Real)
		inside, _ = w.locate(l)
		o.Held = inside != "" && (o.Purpose == database.BinaryLog || o.Purpose == database.RelayLog)
		if !o.Held {
			return nil
		}
	}
	o.Held = true
	info, err := os.Stat(inside)
	if err != nil {
		return err
	}
	if info.IsDir() && p.Owns(o.Purpose, filepath.Base(o.Real)) { // #innodb_redo itself, and not what it lies in
		bytes, err := sizeOf(inside)
		o.Files = []File{{Path: inside, Bytes: bytes}}
		return err
	}
	if !info.IsDir() {
		if o.Purpose != database.BinaryLog && o.Purpose != database.RelayLog {
			o.Files = []File{{Path: inside, Bytes: blocks(info)}}
			return nil
		}
		inside = filepath.Dir(inside) // an index stands for its directory
	}
	entries, err := os.ReadDir(inside)
	for _, e := range entries {
		if !p.Owns(o.Purpose, e.Name()) {
			continue // the directory may hold anybody's files
		}
		bytes, err := sizeOf(filepath.Join(inside, e.Name()))
		if err != nil {
			return err
		}
		o.Files = append(o.Files, File{Path: filepath.Join(inside, e.Name()), Bytes: bytes})
	}
	return err
}

func blocks(info fs.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Blocks * 512
	}
	return info.Size()
}

func sizeOf(path string) (total int64, err error) {
	err = filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil {
			total += blocks(info)
		}
		return errors.Join(err)
	})
	return total, err
}
