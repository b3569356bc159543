package main

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// manifest is a CRD as a person would write it: without a status, which
// belongs to the API server.
type manifest struct {
	metav1.TypeMeta `json:",inline"`
	Metadata        metadata                                     `json:"metadata"`
	Spec            apiextensionsv1.CustomResourceDefinitionSpec `json:"spec"`
}

type metadata struct {
	Name        string            `json:"name"`
	Annotations map[string]string `json:"annotations,omitempty"`
}
