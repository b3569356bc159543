module fleet.nationtech.io/deploy

go 1.26.0
