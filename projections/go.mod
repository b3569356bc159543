module fleet.nationtech.io/projections

go 1.26.0

require fleet.nationtech.io/eventlog v0.0.0

replace fleet.nationtech.io/eventlog => ../eventlog
