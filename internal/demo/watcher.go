package demo

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"time"
)

// watchOptions of the watcher; times 0 is for ever.
type watchOptions struct {
	indent string
	every  time.Duration
	times  int
}

// newest is the newest row of a node.
type newest struct {
	id      int64
	word    string
	written float64 // seconds, by node-a's clock
	err     error
}

// Watch is the watcher by hand, in a demo that runs or was kept, until the context ends; that is no error.
func Watch(ctx context.Context, o Options) error {
	o, err := o.filled()
	if err != nil {
		return err
	}
	leave, err := visit(o.Dir)
	if err != nil {
		return err
	}
	defer leave()
	return watch(ctx, o.Dir, newStory(o.Out), watchOptions{every: time.Second})
}

// watch shows the newest row on every node, and how far the replicas are behind node-a.
func watch(ctx context.Context, dir string, s *story, o watchOptions) error {
	open := map[string]*sql.DB{}
	defer func() {
		for _, db := range open {
			_ = db.Close()
		}
	}()
	shown := 0
	for i := 0; o.times == 0 || i < o.times; i++ {
		nodes := watched(dir, open)
		if i%20 == 0 || len(nodes) != shown {
			s.line(o.indent + s.heading.Sprint(watchHead(nodes)))
			shown = len(nodes)
		}
		s.line(o.indent + watchLine(ctx, nodes, open))
		if o.times > 0 && i+1 == o.times {
			break
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(o.every):
		}
	}
	return nil
}

// watched are the nodes that have a server; node-c gets its own late.
func watched(dir string, pools map[string]*sql.DB) []string {
	var nodes []string
	for _, name := range []string{nodeA, nodeB, nodeC} {
		if pools[name] == nil {
			db, err := open(dir, name)
			if err != nil {
				continue
			}
			pools[name] = db
		}
		nodes = append(nodes, name)
	}
	return nodes
}

func watchHead(nodes []string) string {
	head := fmt.Sprintf("%-9s%-18s", "", nodeA+": newest")
	for _, name := range nodes {
		if name != nodeA {
			head += fmt.Sprintf("%-18s%-16s", name, "behind")
		}
	}
	return head
}

func watchLine(ctx context.Context, nodes []string, pools map[string]*sql.DB) string {
	rows := map[string]newest{}
	// the replicas first: what the source commits meanwhile counts as lag, so the lag is never made to look small
	for i := len(nodes) - 1; i >= 0; i-- {
		rows[nodes[i]] = newestRow(ctx, pools[nodes[i]])
	}
	line := fmt.Sprintf("%-9s%-18s", time.Now().Format(time.TimeOnly), rows[nodeA])
	for _, name := range nodes {
		if name != nodeA {
			line += fmt.Sprintf("%-18s%-16s", rows[name], rows[name].behind(rows[nodeA]))
		}
	}
	return line
}

func newestRow(ctx context.Context, db *sql.DB) newest {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var n newest
	n.err = db.QueryRowContext(ctx, "SELECT id, word, UNIX_TIMESTAMP(written_at) FROM sampledb.sampletable ORDER BY id DESC LIMIT 1").
		Scan(&n.id, &n.word, &n.written)
	return n
}

func (n newest) String() string {
	switch {
	case errors.Is(n.err, sql.ErrNoRows):
		return "no row yet"
	case n.err != nil:
		return "no answer"
	}
	word := []rune(n.word)
	if len(word) > 10 {
		word = append(word[:9], '…')
	}
	return fmt.Sprintf("%d %s", n.id, string(word))
}

func (n newest) behind(source newest) string {
	if n.err != nil || source.err != nil {
		return "?"
	}
	count := max(source.id-n.id, 0)
	if count == 0 {
		return "nothing"
	}
	plural := "s"
	if count == 1 {
		plural = ""
	}
	lag := time.Duration(math.Round((source.written-n.written)*1000)) * time.Millisecond
	if lag >= time.Second {
		return fmt.Sprintf("%d row%s %.1fs", count, plural, lag.Seconds())
	}
	return fmt.Sprintf("%d row%s %dms", count, plural, lag.Milliseconds())
}
