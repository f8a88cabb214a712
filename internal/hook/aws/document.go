package aws

import (
	"encoding/json"
	"fmt"

	"github.com/holdstill/holdstill/internal/hook"
)

const (
	documentPath = "/etc/holdstill/aws-ssm-document.json"
	documentName = "Holdstill"
	noID         = "None" // what the document's parameter is where the service gives none
)

const register = `Create the document once an account and region, with the tag without which the service may not run it:
    aws ssm create-document --name ` + documentName + ` --document-type Command --document-format JSON \
        --content file://` + documentPath + ` --tags Key=DLMScriptsAccess,Value=true
(later: aws ssm update-document --name ` + documentName + ` --document-version '$LATEST' --document-format JSON --content file://` + documentPath + `,
and then aws ssm update-document-default-version). Give the policy's role AWSDataLifecycleManagerSSMFullAccess, and name the document in the
policy's pre and post scripts: both stages, ExecutionTimeout 60 rather than 10, MaximumRetryCount 0. Try it with command=dry-run, which does nothing.`

type parameter struct {
	Type           string   `json:"type"`
	Description    string   `json:"description"`
	Default        string   `json:"default"`
	AllowedValues  []string `json:"allowedValues,omitempty"`
	AllowedPattern string   `json:"allowedPattern,omitempty"`
}

type step struct {
	Action       string              `json:"action"`
	Name         string              `json:"name"`
	Precondition map[string][]string `json:"precondition"`
	Inputs       map[string][]string `json:"inputs"`
}

type document struct {
	SchemaVersion string               `json:"schemaVersion"`
	Description   string               `json:"description"`
	Parameters    map[string]parameter `json:"parameters"`
	MainSteps     [1]step              `json:"mainSteps"`
}

func (p personality) Files(site hook.Site) ([]hook.File, error) {
	content, err := json.MarshalIndent(documentFor(site), "", "  ")
	if err != nil {
		return nil, fmt.Errorf("cannot write the SSM document: %w", err)
	}
	return []hook.File{{
		Path: documentPath, Content: append(content, '\n'), Mode: 0o644,
		Why: "the SSM document that the service runs; the service keeps a copy of its own", Register: register,
	}}, nil
}

// documentFor quotes what the service puts in: the values that the parameters allow hold no quote.
func documentFor(site hook.Site) document {
	return document{
		SchemaVersion: "2.2",
		Description:   "Holds MySQL and MariaDB still around the snapshots of Amazon Data Lifecycle Manager (Holdstill)",
		Parameters: map[string]parameter{
			"executionId": {
				Type: "String", Description: "The id of this run of the policy", Default: noID,
				AllowedPattern: "^(" + noID + "|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})$",
			},
			"command": {
				Type: "String", Description: "What to do: hold, release, or nothing", Default: "dry-run",
				AllowedValues: []string{"pre-script", "post-script", "dry-run"},
			},
		},
		MainSteps: [1]step{{
			Action: "aws:runShellScript", Name: "holdstill",
			Precondition: map[string][]string{"StringEquals": {"platformType", "Linux"}},
			Inputs:       map[string][]string{"runCommand": {"#!/bin/sh", "exec " + site.Command("aws") + " '{{ command }}' '{{ executionId }}'"}},
		}},
	}
}
