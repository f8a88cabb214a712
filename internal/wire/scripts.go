package wire

import (
	"context"
	"log/slog"

	"github.com/holdstill/holdstill/internal/config"
	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/database/scripts"
)

// OpenInstance opens what an instance is, a server or an application that scripts hold, and tells where a later process finds it.
func OpenInstance(ctx context.Context, i *config.Instance, runDir string, log *slog.Logger) (database.Server, database.Endpoint, error) {
	if i.Kind == config.KindScripts {
		return scripts.Open(scripts.Spec{
			PluginConfig: i.Scripts.PluginConfig, HostConfig: i.Scripts.HostConfig, BackupConfig: i.Scripts.HostBackupConfig,
			Paths: i.Scripts.Paths, RunDir: runDir,
		}, log), database.Endpoint{}, nil
	}
	e, err := Endpoint(i)
	if err != nil {
		return nil, e, err
	}
	s, err := Connect(ctx, e)
	return s, e, err
}
