package lab

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// StartCommand is a shell command that starts the server and returns when it answers; it does nothing when the server runs.
func (s *Server) StartCommand() string { return s.service + " start" }

// StopCommand is a shell command that shuts the server down and returns when its process is gone.
func (s *Server) StopCommand() string { return s.service + " stop" }

// Start starts the server, in a session of its own, and waits until it answers.
func (s *Server) Start(ctx context.Context) error { return s.serve(ctx, "start") }

// Stop shuts the server down cleanly and waits until its process is gone.
func (s *Server) Stop(ctx context.Context) error { return s.serve(ctx, "stop") }

// Kill ends the server as a power cut would end its process, and waits until it is gone.
func (s *Server) Kill() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return s.serve(ctx, "kill")
}

func (s *Server) serve(ctx context.Context, verb string) error {
	if _, err := run(ctx, s.service, verb); err != nil {
		return fmt.Errorf("cannot %s the server %s (%s): %w", verb, s.Name, s.Build.Name, err)
	}
	return nil
}

// PID of the running server, 0 when there is none.
func (s *Server) PID() int {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := run(ctx, s.service, "pid")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(out, "\n")
	pid, _ := strconv.Atoi(first)
	return pid
}

// Running says whether the server's process lives.
func (s *Server) Running() bool { return s.PID() != 0 }
