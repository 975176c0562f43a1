"""TensorFlow Lite flatbuffers: write one operating region as a stand-alone int8 model."""
