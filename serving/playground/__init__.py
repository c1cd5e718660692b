"""A local web page that asks serving programs and shows what comes back, one model beside another."""
