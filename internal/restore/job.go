package restore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/undo"
)

// Job is one restore under way. Do runs it; a replica uses its parts.
type Job struct {
	Run    *undo.Run
	Plan   *Plan
	Result Result

	deps     Deps
	receipts []*undo.Receipt
	server   *Process
}

// Begin makes a job of a plan. Nothing happens yet.
func Begin(run *undo.Run, plan *Plan, deps Deps) *Job {
	r := plan.Request
	return &Job{Run: run, Plan: plan, deps: deps.withDefaults(), Result: Result{
		Point: r.Point.ID, Datadir: r.Datadir, OptionFile: plan.OptionFilePath(), ErrorLog: plan.ErrorLog,
		Socket: plan.Socket, Port: plan.Port, Bind: r.BindAddress, How: plan.How,
		Verified: []string{}, Warnings: append([]string{}, plan.Warnings...), Times: []catalog.Stage{},
	}}
}

// Act promises a deed of somebody who builds on a restore, does it, and keeps its receipt with ours.
func (j *Job) Act(ctx context.Context, d undo.Deed, do func(context.Context) error) error {
	return act(ctx, j, d, do)
}

// Verified notes what was proven.
func (j *Job) Verified(format string, args ...any) { j.verified(fmt.Sprintf(format, args...)) }

// Warn notes what a person should know.
func (j *Job) Warn(format string, args ...any) { j.warn(fmt.Sprintf(format, args...)) }

// act promises a deed, does it and keeps its receipt, and takes the time.
func act(ctx context.Context, j *Job, d undo.Deed, do func(context.Context) error) error {
	_, err := actFor(ctx, j, d, func(ctx context.Context) (struct{}, error) { return struct{}{}, do(ctx) }, nil)
	return err
}

func actFor[T any](ctx context.Context, j *Job, d undo.Deed, do func(context.Context) (T, error), back func(context.Context) error) (T, error) {
	begun := time.Now()
	out, receipt, err := undo.Do(ctx, j.Run, undo.Step[T]{Deed: d, Act: do, Undo: back})
	if receipt != nil {
		j.receipts = append(j.receipts, receipt)
	}
	j.Took(d.Stage, begun)
	return out, err
}

// Took notes how long a stage was.
func (j *Job) Took(stage string, begun time.Time) {
	j.Result.Times = append(j.Result.Times, catalog.Stage{Name: stage, StartedAt: begun.UTC(), MS: float64(time.Since(begun).Microseconds()) / 1000})
}

func (j *Job) verified(text string) { j.Result.Verified = append(j.Result.Verified, text) }

func (j *Job) warn(text string) {
	j.deps.Log.Warn(text, "stage", "scratch")
	j.Result.Warnings = append(j.Result.Warnings, text)
}

// Keep makes what was done stay: the deeds are closed first, and then the marks go by which an undo would know our files.
func (j *Job) Keep() (*Result, error) {
	var all []error
	for _, r := range j.receipts {
		if r.Open() {
			all = append(all, j.Run.Keep(r))
		}
	}
	config := j.Plan.Request.ConfigDir
	for _, dir := range []string{j.Plan.Request.Datadir, filepath.Join(config, "tmp"), filepath.Join(config, keyringDir)} {
		if err := os.Remove(markIn(dir, j.Run.ID)); err != nil && !errors.Is(err, os.ErrNotExist) {
			all = append(all, err)
		}
	}
	j.commands()
	return &j.Result, errors.Join(all...)
}

// commands tells how to go on by hand.
func (j *Job) commands() {
	r := &j.Result
	client, admin := "mysql", "mysqladmin"
	if isMariaDB(j.Plan.Request.Point.Server.Product) {
		client, admin = "mariadb", "mariadb-admin"
	}
	if r.OptionFile == "" {
		return
	}
	file := shellQuoted("--defaults-file=" + r.OptionFile)
	r.Connect = client + " " + file
	r.Begin = shellQuoted(j.Plan.Server.Path) + " " + file
	r.Stop = admin + " " + file + " shutdown"
}

func shellQuoted(s string) string {
	if strings.IndexFunc(s, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:,@%+=-", r)
	}) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
