package dump

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"

	"github.com/dustin/go-humanize"

	"github.com/holdstill/holdstill/internal/dumpfile"
	"github.com/holdstill/holdstill/internal/fault"
	"github.com/holdstill/holdstill/internal/schema"
)

// frame is how the tool ends a text: it goes to the end of each file, as the tool itself would have written it.
type frame struct {
	first string // its first statement
	text  []byte
}

// restoring is the first of those statements: what was kept at the beginning is put back.
var restoring = regexp.MustCompile(`(?m)^/\*!\d+ SET [A-Z_]+=@OLD_`)

// frame lets the tool write one table without rows. So it is also seen that it can log in, before anybody is held.
func (j *job) frame(ctx context.Context) (*frame, error) {
	all := j.tasks(true)
	if len(all) == 0 {
		return nil, nil
	}
	t := all[0]
	for _, other := range all {
		if other.table.Kind == schema.Base { // the others have more statements
			t = other
			break
		}
	}
	var text bytes.Buffer
	if _, err := j.run(ctx, j.noRowsOf(t), &text); err != nil {
		return nil, err
	}
	at := restoring.FindIndex(text.Bytes())
	if at == nil {
		return nil, &Refusal{j.tool.Path + " does not end its text as mysqldump and mariadb-dump do", "name the server's own dump tool"}
	}
	end := text.Bytes()[at[0]:]
	first, err := dumpfile.NewStatements(bytes.NewReader(end)).Next()
	return &frame{first: string(first.Text), text: append([]byte("\n"), end...)}, err
}

// splitter takes the text of all tables apart.
type splitter struct {
	*job
	frame *frame
	head  bytes.Buffer         // what each file begins with, as the tool wrote it
	begun bool                 // the head is over
	ended bool                 // so is everything
	db    string               // that the text is in
	want  map[schema.Name]task // what did not come yet
	open  *piece               // nil: the text here belongs to nothing that is wanted
	files map[schema.Name]dumpfile.File
}

// piece is one table's file that is being written.
type piece struct {
	*packed
	task  task
	file  dumpfile.File
	bytes int64 // of the text
}

// split writes a file for each table from the text of all.
func (j *job) split(ctx context.Context, r *reading, frame *frame) (map[schema.Name]dumpfile.File, error) {
	if r == nil {
		return nil, nil
	}
	s := &splitter{job: j, frame: frame, db: j.plan.only(), want: map[schema.Name]task{}, files: map[schema.Name]dumpfile.File{}}
	for _, t := range j.tasks(true) {
		s.want[t.table.FullName()] = t
	}
	defer context.AfterFunc(ctx, r.cancel)()
	defer r.cancel()
	err := s.read(r.text)
	if s.open != nil {
		s.open.drop()
	}
	if err != nil {
		r.cancel() // it would wait for a reader
	}
	<-r.quiet
	if err := j.judged(err, r.cmd.Wait(), s.ended, r.said); err != nil {
		return nil, err
	}
	for n := range s.want {
		return nil, &ChangedError{fmt.Errorf("the table %s was not there any more when its turn came", n)}
	}
	return s.files, nil
}

// read goes through the statements; each comes with the comments before it.
func (s *splitter) read(text io.Reader) error {
	var raw bytes.Buffer
	var taken int64
	statements := dumpfile.NewStatements(io.TeeReader(text, &raw))
	for {
		statement, err := statements.Next()
		if errors.Is(err, io.EOF) {
			s.ended = s.ended && bytes.Contains(raw.Bytes(), []byte("-- Dump completed"))
			return nil
		}
		if err != nil {
			return err
		}
		piece := raw.Next(int(statements.Taken() - taken))
		taken = statements.Taken()
		if err := s.statement(statement, piece); err != nil {
			return err
		}
	}
}

// statement gives a statement to the file that it belongs to. Only whole statements are looked at: what stands in a row does not count.
func (s *splitter) statement(statement dumpfile.Statement, raw []byte) error {
	if name, ok := named(statement.Text, "USE "); ok {
		s.begun, s.db = true, name
		return s.close()
	}
	for _, drop := range []string{"DROP TABLE IF EXISTS ", "DROP SEQUENCE IF EXISTS "} {
		if name, ok := named(statement.Text, drop); ok {
			s.begun = true
			if err := errors.Join(s.close(), s.next(schema.Name{Database: s.db, Table: name})); err != nil {
				return err
			}
		}
	}
	switch {
	case string(statement.Text) == s.frame.first:
		s.ended = true
		return s.close()
	case !s.begun:
		s.head.Write(raw)
	case s.open != nil:
		s.open.file.InFile += dumpfile.RowsOf(statement)
		return s.open.add(raw)
	}
	return nil
}

// named reads the name from a statement that is nothing but these words and a name.
func named(text []byte, words string) (string, bool) {
	rest, ok := bytes.CutPrefix(text, []byte(words))
	if !ok || !bytes.HasPrefix(rest, []byte("`")) {
		return "", false
	}
	n, err := schema.ParseName(string(rest))
	return n.Database, err == nil && n.Table == ""
}

// next begins a table's file.
func (s *splitter) next(n schema.Name) error {
	t, ok := s.want[n]
	if !ok {
		if s.held.Table(n) == nil {
			s.plan.warnings = append(s.plan.warnings, fmt.Sprintf("%s came into being while the dump began, and is not in it", n))
			s.deps.Log.Warn(s.plan.warnings[len(s.plan.warnings)-1])
		}
		return nil
	}
	delete(s.want, n)
	s.deps.Log.Info(fmt.Sprintf("Dumping table %s...", n))
	p, err := create(s.Dir, t.file(s.Request), s.Compression)
	if err != nil {
		return err
	}
	s.open = &piece{packed: p, task: t, file: s.fileOf(t)}
	if _, err := io.WriteString(p, s.header(t)); err != nil {
		return err
	}
	return s.open.add(s.head.Bytes())
}

func (p *piece) add(text []byte) error {
	n, err := p.Write(text)
	p.bytes += int64(n)
	return err
}

// close ends the file that is open.
func (s *splitter) close() error {
	p := s.open
	if p == nil {
		return nil
	}
	if err := p.add(s.frame.text); err != nil {
		return err
	}
	p.file.Text = p.bytes
	if err := p.whole(&p.file); err != nil {
		return err
	}
	s.open = nil
	s.files[p.task.table.FullName()] = p.file
	s.deps.Log.Info(fmt.Sprintf("%s %s", humanize.IBytes(uint64(p.file.Bytes)), p.file.Name))
	s.told(p.task)
	return errors.Join(s.journal.add(p.file), fault.At("dump.noted"))
}
