module astra.test/chart

go 1.19
