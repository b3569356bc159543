package localapitest_test

import (
	"os"
	"testing"

	"fleet.nationtech.io/crds/localapi/localapitest"
)

func TestMain(m *testing.M) { os.Exit(localapitest.Suite{M: m}.Run()) }

func TestX(t *testing.T) { localapitest.Shared(t) }
