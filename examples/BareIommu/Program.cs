BareIommu.Tour.Run(Console.Out);
