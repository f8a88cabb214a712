package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
)

// textHandler writes `[2026/11/22 13:00:00 UTC] INFO: Starting PRE actions for role replica key=value`, the form that
// people's log filters know.
type textHandler struct {
	mu    *sync.Mutex
	out   io.Writer
	level slog.Level
	attrs []slog.Attr
}

func newLogger(format string, verbose bool, out io.Writer) *slog.Logger {
	level := slog.LevelInfo
	if verbose {
		level = slog.LevelDebug
	}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: level}))
	}
	return slog.New(&textHandler{mu: &sync.Mutex{}, out: out, level: level})
}

func (h *textHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level }

func (h *textHandler) Handle(_ context.Context, r slog.Record) error {
	var line bytes.Buffer
	fmt.Fprintf(&line, "[%s] %s: %s", r.Time.UTC().Format("2006/01/02 15:04:05 UTC"), r.Level, oneLine(r.Message))
	write := func(a slog.Attr) bool {
		value := a.Value.String()
		if value == "" || strings.ContainsAny(value, " \"\n\t=") {
			value = fmt.Sprintf("%q", value)
		}
		fmt.Fprintf(&line, " %s=%s", a.Key, value)
		return true
	}
	for _, a := range h.attrs {
		write(a)
	}
	r.Attrs(write)
	line.WriteByte('\n')
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := h.out.Write(line.Bytes())
	return err
}

// oneLine keeps a text from a server from forging log lines.
func oneLine(s string) string { return strings.NewReplacer("\n", `\n`, "\r", `\r`).Replace(s) }

func (h *textHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	c.attrs = append(c.attrs[:len(c.attrs):len(c.attrs)], attrs...)
	return &c
}

// WithGroup is not used in Holdstill: groups flatten.
func (h *textHandler) WithGroup(string) slog.Handler { return h }
