-- What the travel agency has to sell, and what it has done.
CREATE TABLE offers (what text PRIMARY KEY, places integer NOT NULL CHECK (places >= 0));
CREATE TABLE journal (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, trip text NOT NULL, entry text NOT NULL);
INSERT INTO offers VALUES ('train to Paris', 3), ('hotel in Paris', 2), ('boat to Atlantis', 0);
