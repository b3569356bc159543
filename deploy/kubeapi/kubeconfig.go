package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// contextName names cluster, user and context in the kubeconfig, and is how we
// know a kubeconfig for ours.
const contextName = "kubeapi"

// removeStaleKubeconfig removes the file of an earlier process, so that the
// presence of the file means ready. A kubeconfig that holds anything else is
// somebody's own, and is refused rather than lost.
func removeStaleKubeconfig(path string) error {
	config, err := clientcmd.LoadFromFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s exists and is not a kubeconfig (%w); move it, or give another --kubeconfig", path, err)
	}
	for name := range config.Clusters {
		if name != contextName {
			return fmt.Errorf("%s holds the cluster %q, which would be lost; give another --kubeconfig", path, name)
		}
	}
	return removeIfPresent(path)
}

// writeKubeconfig writes a self-contained kubeconfig of the cluster's admin.
func writeKubeconfig(path, server string, creds credentials) error {
	ca, err := os.ReadFile(creds.caFile())
	if err != nil {
		return fmt.Errorf("read serving certificate: %w", err)
	}
	config := api.NewConfig()
	config.Clusters[contextName] = &api.Cluster{Server: server, CertificateAuthorityData: ca}
	config.AuthInfos[contextName] = &api.AuthInfo{Token: creds.token}
	config.Contexts[contextName] = &api.Context{Cluster: contextName, AuthInfo: contextName, Namespace: "default"}
	config.CurrentContext = contextName
	content, err := clientcmd.Write(*config)
	if err != nil {
		return fmt.Errorf("encode kubeconfig: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("make directory of the kubeconfig: %w", err)
	}
	if err := writeFileAtomically(path, content); err != nil {
		return fmt.Errorf("write kubeconfig: %w", err)
	}
	return nil
}
