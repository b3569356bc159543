package install

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/deploy/install/cluster"
)

func withClaim(size, class string) *appsv1.StatefulSet {
	claim := corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "data"}}
	claim.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(size)}
	if class != "" {
		claim.Spec.StorageClassName = &class
	}
	set := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: "fleet-system", Name: "fleet-nats"}}
	set.Spec.VolumeClaimTemplates = []corev1.PersistentVolumeClaim{claim}
	return set
}

func TestClaimsThatKubernetesDoesNotChangeAreRefusedBefore(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		is, should *appsv1.StatefulSet
		says, does string
	}{
		"the same":        {withClaim("50Gi", "fast"), withClaim("50Gi", "fast"), "", ""},
		"another writing": {withClaim("1Gi", ""), withClaim("1024Mi", ""), "", ""},
		"the default one": {withClaim("50Gi", "fast"), withClaim("50Gi", ""), "", ""},
		"larger":          {withClaim("50Gi", ""), withClaim("80Gi", ""), "are 50Gi, and 80Gi is wished", "patch pvc data-fleet-nats-N"},
		"smaller":         {withClaim("50Gi", ""), withClaim("20Gi", ""), "cannot shrink", "nats.storage.size=50Gi"},
		"another class":   {withClaim("50Gi", "slow"), withClaim("50Gi", "fast"), "another storage class than fast", "docs/recovery.md"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found := differingClaims(tt.is, tt.should)
			if tt.says == "" {
				if len(found) > 0 {
					t.Errorf("found %+v", found)
				}
				return
			}
			if len(found) != 1 || found[0].Level != cluster.Refuse || !strings.Contains(found[0].Sentence, tt.says) || !strings.Contains(found[0].Remedy, tt.does) {
				t.Errorf("found %+v", found)
			}
		})
	}
}
