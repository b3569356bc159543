package apply

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// UpdateAs writes an object as another field manager.
func (a *Applier) UpdateAs(ctx context.Context, object *unstructured.Unstructured, manager string) error {
	client, err := a.of(object)
	if err != nil {
		return err
	}
	_, err = client.Update(ctx, object, metav1.UpdateOptions{FieldManager: manager})
	return err
}
