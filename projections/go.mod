module fleet.nationtech.io/projections

go 1.26.0
