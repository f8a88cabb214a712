package kopia

import (
	"context"
	"log/slog"
	"strings"

	"github.com/kopia/kopia/repo/blob"
	"github.com/kopia/kopia/repo/logging"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

func init() { blob.ApplicationID = "holdstill" } // how the stores' logs call us

// WithLog makes what kopia has to say part of the log, for those who want to know more: without it nobody hears it. What goes wrong is
// in the errors.
func WithLog(ctx context.Context, log *slog.Logger) context.Context {
	return logging.WithLogger(ctx, func(module string) logging.Logger {
		lowest := zapcore.InfoLevel
		if module == "retry" { // a store that is slow to answer
			lowest = zapcore.DebugLevel
		}
		return zap.New(&core{log: log, module: module, lowest: lowest}).Sugar()
	})
}

// core hands kopia's messages on.
type core struct {
	log    *slog.Logger
	module string
	lowest zapcore.Level
}

func (c *core) Enabled(l zapcore.Level) bool      { return l >= c.lowest }
func (c *core) With([]zapcore.Field) zapcore.Core { return c }
func (c *core) Sync() error                       { return nil }

func (c *core) Check(e zapcore.Entry, to *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return to.AddCore(e, c)
	}
	return to
}

func (c *core) Write(e zapcore.Entry, _ []zapcore.Field) error {
	c.log.Debug(hide(strings.TrimSpace(e.Message)), "kopia", c.module)
	return nil
}
