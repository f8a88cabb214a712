package store

import (
	"context"
	"encoding/base64"
	"fmt"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
)

// azureAccount is the first part of the address 127.0.0.1: see Endpoint.Domain.
const azureAccount = "127"

// prepareAzure has azurite keep blobs. It checks signatures; a retention it takes, and does not keep to.
func prepareAzure(e *Endpoint, _ string) (*process, error) {
	node, err := installed("node")
	if err != nil {
		return nil, err
	}
	script, err := fetched(azurite)
	if err != nil {
		return nil, err
	}
	e.User, e.Secret = azureAccount, base64.StdEncoding.EncodeToString([]byte("a secret of the tests, nowhere else"))
	return &process{
		env: []string{"AZURITE_ACCOUNTS=" + e.User + ":" + e.Secret},
		// it knows the versions of the interface of its day only, and the clients are newer
		args: []string{node, script, "--blobHost", e.Host, "--blobPort", fmt.Sprint(e.Port), "--location", e.Data, "--skipApiVersionCheck", "--disableTelemetry"},
	}, nil
}

func makeContainer(ctx context.Context, e *Endpoint) error {
	key, err := azblob.NewSharedKeyCredential(e.User, e.Secret)
	if err != nil {
		return err
	}
	options := &azblob.ClientOptions{ClientOptions: azcore.ClientOptions{InsecureAllowCredentialWithHTTP: true}}
	client, err := azblob.NewClientWithSharedKeyCredential(e.URL+"/", key, options)
	if err != nil {
		return err
	}
	if _, err := client.CreateContainer(ctx, e.Bucket, nil); err != nil {
		return fmt.Errorf("cannot make the container %s: %w", e.Bucket, err)
	}
	return nil
}
