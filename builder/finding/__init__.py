"""Kubernetes manifests -> the images that they name. Pure.

In:  text of Kubernetes manifests, as `helm template`, `kubectl kustomize` and `kubectl get -o json` print it; the Image
     values of a seed.
Out: NamedImages, each with FILE:LINE; notes for a person; MissingImages if the seed lacks some.
Imports builder.reading and builder.rewriting.

    image_words                       the form of image names, and of the flags and variables that announce one
    tokens, yaml_tokens, json_tokens  text -> (line, key, value)
    named_images                      tokens -> images: sure, mentioned or unclear
    missing_images                    these, compared with the images of a seed

Images that are compiled into a program appear in no manifest and cannot be found.
"""
