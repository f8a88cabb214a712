package scripts

import (
	"context"
	"fmt"

	"github.com/holdstill/holdstill/internal/database"
)

// side is one plugin in this hold.
type side struct {
	*plugin
	note *entry
	pre  *tried
	post *tried
}

// before runs the pre, unless the post could not be: who would release the application then?
func (s *side) before(ctx context.Context) {
	s.pre = &tried{run: database.ScriptRun{Plugin: s.name, Phase: pre, Script: s.plugin.pre.path, Exit: -1}}
	if f := s.plugin.post.check(); f != nil && s.plugin.pre.check() == nil {
		s.pre.err = fmt.Errorf("the pre script %s was not run, as %w", s.plugin.pre.path, f)
		s.pre.run.Code, s.pre.run.Said = f.Code, s.pre.err.Error()
		return
	}
	s.pre = s.try(ctx, s.plugin.pre, s.note)
}

// after runs the post, once nothing of the pre can act any more.
func (s *side) after(ctx context.Context) {
	if s.pre == nil || !s.pre.begun || s.note.Done {
		return
	}
	if s.pre.stuck != 0 {
		if err := killGroup(s.pre.stuck); err != nil {
			s.post = &tried{run: database.ScriptRun{Plugin: s.name, Phase: post, Script: s.plugin.post.path, Code: codeHostTimeout + 1, Exit: -1}}
			s.post.err = fmt.Errorf("the post script %s was not run: the pre has not ended: %w", s.plugin.post.path, err)
			s.post.run.Said = s.post.err.Error()
			return
		}
		s.pre.stuck = 0
	}
	if s.post = s.try(ctx, s.plugin.post, s.note); s.post.err == nil {
		s.post.err = s.note.done()
	}
}
